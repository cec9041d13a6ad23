// What every page shares: theme switch, keys dialog, and the page's own module.
import { address, memory } from './common.js';

const media = window.matchMedia('(prefers-color-scheme: dark)');

function applyTheme() {
  const chosen = memory.get('theme');
  const dark = chosen ? chosen === 'dark' : media.matches;
  if (document.body.classList.contains('dark') !== dark) document.body.classList.toggle('dark', dark);
  document.documentElement.style.colorScheme = dark ? 'dark' : 'light';
  for (const button of document.querySelectorAll('[data-theme-switch]')) {
    button.textContent = dark ? 'Light' : 'Dark';
    button.setAttribute('aria-label', dark ? 'Switch to light' : 'Switch to dark');
  }
}

function openKeys() {
  const dialog = document.querySelector('dialog.keys');
  if (dialog && !dialog.open) dialog.showModal();
}

/** Wire the header of a page; called once by each page's header component. */
export function header(element) {
  element.querySelector('[data-theme-switch]').addEventListener('click', () => {
    memory.set('theme', document.body.classList.contains('dark') ? 'light' : 'dark');
    applyTheme();
  });
  element.querySelector('[data-keys]').addEventListener('click', openKeys);
  element.querySelector('dialog.keys button').addEventListener('click', () => document.querySelector('dialog.keys').close());
  document.addEventListener('keydown', (event) => {
    if (event.key === '?' && !event.target.closest?.('input[type="text"], input[type="search"], textarea, select')) openKeys();
  });
  media.addEventListener('change', applyTheme);
  applyTheme();
  carryChoice(element);
}

/** Going to another page keeps dataset and target. */
function carryChoice(element) {
  element.querySelector('.brand').href = address('/');
  const links = element.querySelectorAll('nav a[data-carry]');
  for (const link of links) {
    link.href = address(link.dataset.carry);
    link.addEventListener('click', () => {
      const here = new URLSearchParams(location.search);
      const kept = new URLSearchParams();
      for (const name of ['dataset', 'target']) if (here.has(name)) kept.set(name, here.get(name));
      const query = kept.toString();
      link.href = address(link.dataset.carry) + (query ? `?${query}` : '');
    });
  }
}

/** The Conditions page: all grids are in the page, the address says which one is seen. */
export function conditions(element) {
  const dataset = element.querySelector('[data-part="dataset"]');
  const target = element.querySelector('[data-part="target"]');
  const fit = element.querySelector('[data-part="fit"]');
  const show = () => {
    for (const grid of element.querySelectorAll('[data-grid]')) grid.hidden = grid.dataset.grid !== `${dataset.value}|${target.value}|${fit.value}`;
    const found = element.querySelector('[data-grid]:not([hidden])');
    element.querySelector('[data-part="none"]').hidden = Boolean(found);
  };
  const read = () => {
    const query = new URLSearchParams(location.search);
    for (const [name, select] of [['dataset', dataset], ['target', target], ['fit', fit]]) {
      const wanted = query.get(name);
      if ([...select.options].some((option) => option.value === wanted)) select.value = wanted;
    }
    show();
  };
  const write = () => {
    history.pushState(null, '', `${location.pathname}?${new URLSearchParams({ dataset: dataset.value, target: target.value, fit: fit.value })}`);
    show();
  };
  for (const select of [dataset, target, fit]) select.addEventListener('change', write);
  window.addEventListener('popstate', read);
  read();
  element.dataset.ready = 'true';
}

/** Load a module of the served folder. */
export const part = (files, name) => import(address(`${files}/${name}`));

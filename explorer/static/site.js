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

/** A page whose sections are all in it: the address, and the selectors, say which ones are seen. */
export function sections(element) {
  const selects = [...element.querySelectorAll('.choices select')];
  const show = () => {
    const values = selects.map((select) => select.value);
    // A section is named by the first one, two or all choices; one of a dataset alone stays while the target changes.
    const wanted = values.map((_, count) => values.slice(0, count + 1).join('|'));
    for (const part of element.querySelectorAll('[data-grid]')) part.hidden = !wanted.includes(part.dataset.grid);
    const last = wanted[wanted.length - 1];
    element.querySelector('[data-part="none"]').hidden = [...element.querySelectorAll('[data-grid]')].some((part) => part.dataset.grid === last);
  };
  const read = () => {
    const query = new URLSearchParams(location.search);
    for (const select of selects) {
      const wanted = query.get(select.dataset.part);
      if ([...select.options].some((option) => option.value === wanted)) select.value = wanted;
    }
    show();
  };
  const write = () => {
    const chosen = Object.fromEntries(selects.map((select) => [select.dataset.part, select.value]));
    history.pushState(null, '', `${location.pathname}?${new URLSearchParams(chosen)}`);
    show();
  };
  for (const select of selects) select.addEventListener('change', write);
  window.addEventListener('popstate', read);
  read();
  element.dataset.ready = 'true';
}

/** Load a module of the served folder. */
export const part = (files, name) => import(address(`${files}/${name}`));

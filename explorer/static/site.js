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

/** A page that shows one section at a time: the address, and the selectors, say which; the server makes it. */
export function sections(element, server) {
  const selects = [...element.querySelectorAll('.choices select')];
  const place = element.querySelector('[data-part="sections"]');
  const kept = new Map();
  let turn = 0;
  const load = (numbers) => {
    const key = numbers.join('-');
    if (!kept.has(key)) {
      kept.set(key, server.section(numbers).then(async (url) => {
        const answer = await fetch(address(url));
        if (!answer.ok) throw new Error('the server does not answer');
        return answer.json();
      }));
      kept.get(key).catch(() => kept.delete(key));
    }
    return kept.get(key);
  };
  const show = async () => {
    const mine = ++turn;
    place.setAttribute('aria-busy', 'true');
    let html;
    try {
      html = await load(selects.map((select) => select.selectedIndex));
    } catch (error) {
      html = '<p class="error" role="alert">This could not be loaded. Reload the page to try again.</p>';
      console.warn(error);
    }
    if (mine !== turn) return;
    place.innerHTML = html; // made by the server, where every name is escaped
    place.setAttribute('aria-busy', 'false');
    element.querySelector('[data-part="none"]').hidden = html !== '';
    element.dataset.ready = 'true';
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
}

/** Load a module of the served folder. */
export const part = (files, name) => import(address(`${files}/${name}`));

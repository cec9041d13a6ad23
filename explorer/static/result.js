// The result of one scored clip: draw its histogram once the server's answer is on the page.
import { Histogram } from './curves.js';

/** Watch the result component and draw where an answer carries scores. */
export function result(element, watch) {
  const draw = () => {
    for (const host of element.querySelectorAll('[data-histogram]')) {
      if (host.dataset.drawn) continue;
      host.dataset.drawn = 'true';
      const data = JSON.parse(host.dataset.histogram);
      new Histogram(host, null).set(data.scores, data.labels, data.pins);
    }
  };
  watch('value', draw);
  new MutationObserver(draw).observe(element, { childList: true, subtree: true });
  draw();
}

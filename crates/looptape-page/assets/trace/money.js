// Where the input money went: the conversation, each message as warm as it was dear. A message is paid again by every request
// that sends it.
import { el } from '../dom.js';
import { bytes, count, money, percent, plural } from '../format.js';
import { empty } from '../parts.js';
import { href } from '../place.js';
import { oneLine } from '../recorded.js';

const SECTIONS = {
  system: 'System prompt',
  tool_definitions: 'Tool definition',
  user: 'User',
  assistant: 'Assistant',
  tool_results: 'Result',
  reasoning: 'Reasoning',
  held_by_provider: 'Held by the provider',
};
const MOST_MESSAGES = 300;

export function moneyView(trace, heat) {
  if (!heat || heat.messages.length === 0) return [empty('No message can be priced', el('p', {}, 'No prompt of this trace can be read.'))];
  const all = heat.messages;
  const most = Math.max(...all.map((one) => one.usd), 0);
  // The same message at several places is counted at the first of them.
  const known = all.reduce((sum, one) => sum + (one.counted_at === null ? one.usd : 0), 0);
  const rows = all.map((one, at) => ({ one, at }));
  const shown = rows.length <= MOST_MESSAGES ? rows : [...rows].sort((a, b) => b.one.usd - a.one.usd).slice(0, MOST_MESSAGES).sort((a, b) => a.at - b.at);
  return [
    el('h2', {}, 'What each message cost'),
    el(
      'p',
      { class: 'muted' },
      `The prompt of step ${heat.step}, in its order. A message is paid for again by each request that sends it: these cost ${money(known)} of ${money(heat.input_usd)} that the trace’s input cost. Tokens of single messages are estimates. `,
      el('a', { href: href(`/audit/${encodeURIComponent(trace)}`) }, 'Why did it cost that?'),
    ),
    rows.length > MOST_MESSAGES && el('p', { class: 'muted' }, `The ${MOST_MESSAGES} dearest of ${plural(rows.length, 'message')}, in their order.`),
    el(
      'div',
      { class: 'scroll-x' },
      el(
        'table',
        { class: 'heat' },
        el('thead', {}, el('tr', {}, ['message', 'sent', 'tokens', 'cost', 'share'].map((text, at) => el('th', { scope: 'col', class: at > 0 ? 'number' : null }, text)))),
        el('tbody', {}, shown.map(({ one }) => row(trace, one, most))),
      ),
    ),
  ];
}

function row(trace, one, most) {
  const at = one.step ?? one.first_sent_step;
  const name = one.step && one.sub ? `${one.step}.${one.sub}` : at;
  const link = at && el('a', { href: href(`/trace/${encodeURIComponent(trace)}`, { step: name }) }, `step ${name}`);
  const what = `${SECTIONS[one.section] ?? one.section}${one.tool ? ` of ${one.tool}` : ''}`;
  const heat = most > 0 && one.counted_at === null ? one.usd / most : 0;
  return el(
    'tr',
    { style: { '--warm': heat.toFixed(3) } },
    el('td', { class: 'wide' }, el('b', {}, oneLine(what, 80)), ' ', el('small', {}, bytes(one.bytes), link && [', ', link]), el('div', { class: 'beginning' }, oneLine(one.beginning, 160))),
    one.counted_at === null
      ? [`${count(one.times_sent)} ×`, count(one.tokens), money(one.usd), percent(one.share)].map((text) => el('td', { class: 'number' }, text))
      : el('td', { class: 'number muted', colspan: '4' }, 'the same as above, counted there'),
  );
}

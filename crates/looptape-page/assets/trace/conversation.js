// What was said: messages, reasoning, tool calls and results, with what is new in a step set apart.
import { downloadAddress, getBytes } from '../api.js';
import { el, fill } from '../dom.js';
import { bytes, plural } from '../format.js';
import { isFile } from '../place.js';
import { block, oneLine, recorded } from '../recorded.js';

// Longer texts are not put into the page, only saved.
const MOST_SHOWN_BYTES = 4_000_000;
const AT_ONCE = 40;

const NAMES = { system: 'System', user: 'User', assistant: 'Assistant', tool: 'Tool' };

// Texts of an answer, some of which were cut: `texts(value, pointer)` shows one, with a way to all of it.
export function textsOf(cut, textPath, query = {}) {
  const byPointer = new Map((cut ?? []).map((one) => [one.pointer, one]));
  return (value, pointer, attributes) => {
    const found = byPointer.get(pointer);
    const shown = block(value, attributes);
    if (!found) return shown;
    const asked = { ...query, pointer };
    const note = el('p', { class: 'cut' }, `The first ${bytes(found.shown_bytes)} of ${bytes(found.bytes)}. `);
    const box = el('div', {}, shown, note);
    if (!isFile) {
      const all = el('button', { type: 'button', class: 'small' }, 'Show all');
      all.addEventListener('click', async () => {
        all.disabled = true;
        const text = new TextDecoder().decode(await getBytes(textPath, asked));
        fill(box, block(text, attributes));
      });
      if (found.bytes <= MOST_SHOWN_BYTES) note.append(all, ' ');
      note.append(el('a', { href: downloadAddress(textPath, asked), download: 'text.txt' }, 'Save all of it'));
    }
    return box;
  };
}

// A JSON value, texts as they are.
export function valueBlock(value, pointer, texts) {
  if (typeof value === 'string') return texts(value, pointer);
  return block(JSON.stringify(value, null, 2) ?? 'nothing');
}

function part(one, pointer, texts, names) {
  switch (one.type) {
    case 'text':
      return texts(one.text, `${pointer}/text`);
    case 'reasoning':
      return reasoning(one.text, `${pointer}/text`, texts);
    case 'tool_call':
      return toolCall(one, pointer, texts);
    case 'tool_result':
      return el(
        'div',
        { class: `tool-result${one.is_error ? ' failed' : ''}` },
        el('p', { class: 'caption' }, one.is_error ? 'failed: ' : 'result of ', el('b', {}, oneLine(one.name ?? names?.get(one.call_id) ?? 'a tool', 80)), one.call_id && el('small', {}, oneLine(one.call_id, 60))),
        valueBlock(one.content, `${pointer}/content`, texts),
      );
    default:
      return el('div', {}, el('p', { class: 'caption' }, oneLine(one.kind ?? one.type, 60)), valueBlock(one.value ?? null, `${pointer}/value`, texts));
  }
}

export function reasoning(text, pointer, texts) {
  if (!text) return el('p', { class: 'muted' }, 'Reasoning that the provider keeps to itself.');
  return el('details', { class: 'reasoning', open: text.length < 1500 }, el('summary', {}, 'Reasoning'), texts(text, pointer));
}

export function toolCall(call, pointer, texts, results) {
  const answer = results?.(call);
  return el(
    'div',
    { class: 'tool-call' },
    el('p', { class: 'caption' }, 'calls ', answer ? el('a', { href: answer.href }, el('b', {}, oneLine(call.name, 80))) : el('b', {}, oneLine(call.name, 80)), call.id && el('small', {}, oneLine(call.id, 60))),
    valueBlock(call.arguments, `${pointer}/arguments`, texts),
    answer?.shown,
  );
}

// `parts` is where its parts are.
// `names` knows tools by the ids of their calls.
export function message(one, parts, texts, names) {
  const role = typeof one.role === 'string' ? one.role : (one.role.other ?? 'other');
  return el(
    'article',
    { class: `message ${role in NAMES ? role : 'other'}` },
    el('h4', {}, NAMES[role] ?? recorded(role)),
    one.parts.length > 0 ? one.parts.map((of, at) => part(of, `${parts}/${at}`, texts, names)) : el('p', { class: 'muted' }, 'nothing'),
  );
}

// The names of tools by the ids of their calls; formats differ in where they repeat them.
export function toolNames(messages) {
  const calls = messages.flatMap((one) => one.parts).filter((of) => of.type === 'tool_call' && of.id);
  return new Map(calls.map((call) => [call.id, call.name]));
}

// Messages that were sent before: folded, and drawn some at a time.
export function earlier(messages, pointer, texts, names) {
  const box = el('div', {});
  const folded = el('details', { class: 'earlier' }, el('summary', {}, `${plural(messages.length, 'earlier message')}, sent before`), box);
  let drawn = messages.length;
  const more = el('button', { type: 'button', class: 'small' });
  const draw = () => {
    const from = Math.max(0, drawn - AT_ONCE);
    const nodes = messages.slice(from, drawn).map((one, at) => message(one, `${pointer}/${from + at}/parts`, texts, names));
    more.remove();
    box.prepend(...nodes);
    drawn = from;
    if (drawn > 0) {
      more.textContent = `Show ${Math.min(AT_ONCE, drawn)} before these`;
      box.prepend(more);
    }
  };
  more.addEventListener('click', draw);
  folded.addEventListener('toggle', () => folded.open && drawn === messages.length && draw());
  return folded;
}

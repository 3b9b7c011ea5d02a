// Recorded text: whatever providers, tools and web pages sent. What could hide in it, or turn it around, is written out.
import { el } from './dom.js';

// Control characters, bidirectional marks, zero-width characters, line separators, tags: as the command line escapes them.
const HOSTILE =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\u{e0000}|[\u{e0001}-\u{e007f}]/gu;

// Nodes that show a text as it is, with what is hostile in it written out and marked.
export function recorded(text) {
  const nodes = [];
  let end = 0;
  for (const match of String(text).matchAll(HOSTILE)) {
    if (match[0] === '\r' && text[match.index + 1] === '\n') continue;
    if (match.index > end) nodes.push(text.slice(end, match.index));
    const code = match[0].codePointAt(0).toString(16);
    nodes.push(el('span', { class: 'escaped', title: 'a character that would not be seen' }, `\\u{${code}}`));
    end = match.index + match[0].length;
  }
  if (end < text.length) nodes.push(text.slice(end));
  return nodes;
}

// In one line, cut after so many characters.
export function oneLine(text, most = 200) {
  const cut = String(text ?? '').slice(0, most * 2).replace(/\s+/g, ' ').trim();
  return el('bdi', {}, recorded(cut.length > most ? `${cut.slice(0, most)}…` : cut));
}

// As a block that keeps its lines.
export function block(text, attributes = {}) {
  return el('pre', { ...attributes, class: `recorded ${attributes.class ?? ''}`.trim() }, recorded(text));
}

// What a trace is called: its agent and its name, each once. An imported trace's agent is its file's name without the ending.
export function called({ agent, name }) {
  return [name?.startsWith(agent) ? null : agent, name].filter(Boolean);
}

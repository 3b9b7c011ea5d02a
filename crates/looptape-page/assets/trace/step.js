// One step, or one tool call, beside the timeline: what was asked, what was answered, what it cost, the bytes.
import { downloadAddress, get, getBytes, traceAt } from '../api.js';
import { add, el, fill } from '../dom.js';
import { bytes, clock, count, duration, money, percent, plural, UNKNOWN } from '../format.js';
import { badge, copyButton, failure, figure, figures } from '../parts.js';
import { here, href, isFile } from '../place.js';
import { block, oneLine, recorded } from '../recorded.js';
import { earlier, message, reasoning, textsOf, toolCall, toolNames, valueBlock } from './conversation.js';
import { LEAVES } from './leaves.js';
import { rowName } from './rows.js';

// Bytes of a body that are shown.
const SHOWN_BYTES = 64 << 10;

const PARTS = [
  ['conversation', 'Conversation'],
  ['usage', 'Tokens and cost'],
  ['parameters', 'Parameters'],
  ['bytes', 'Headers and bytes'],
];

export class StepPane {
  constructor(trace) {
    this.trace = trace;
    this.box = el('section', { class: 'pane', 'aria-label': 'Step', tabindex: '0' });
    this.shown = null;
  }

  // Shows a row. `query` has the attempt and the tab.
  async show(row, query) {
    const key = JSON.stringify([rowName(row), query.attempt, query.part, row.duration_ms, row.attempts.length]);
    if (key === this.shown) return;
    this.shown = key;
    this.row = row;
    this.query = query;
    const inner = el('div', { class: 'pane-body' });
    fill(this.box, this.head(row), inner);
    this.box.scrollTop = 0;
    this.asked?.abort();
    const asked = (this.asked = new AbortController());
    try {
      const nodes = await this.content(row, asked.signal);
      if (asked === this.asked) fill(inner, nodes);
    } catch (error) {
      if (error.name !== 'AbortError' && asked === this.asked) fill(inner, failure(error));
    }
  }

  forget() {
    this.shown = null;
    this.asked?.abort();
  }

  place(changes) {
    const { path, query } = here();
    return href(path, { ...query, ...changes });
  }

  head(row) {
    const name = row.kind === 'tool' ? row.tool.name : row.kind === 'other' ? row.endpoint : (row.response_model ?? row.model);
    const title = row.step === null ? (row.kind === 'tool' ? 'Tool call' : 'Call') : row.kind === 'tool' ? `Tool call ${rowName(row)}` : `Step ${row.step}`;
    return el(
      'header',
      { class: 'pane-head' },
      el('h2', {}, title, ' ', el('span', { class: 'muted' }, oneLine(name ?? '', 60))),
      el('a', { class: 'close', href: this.place({ step: '', attempt: '', part: '' }), 'aria-label': 'Close the step', title: 'Close (Escape)' }, '✕'),
    );
  }

  content(row, signal) {
    if (row.kind === 'llm') return this.step(row, signal);
    return row.step === null ? this.loneRow(row, signal) : this.tool(row, signal);
  }

  async step(row, signal) {
    const attempt = this.query.attempt ?? row.attempts.length;
    const part = PARTS.some(([name]) => name === this.query.part) ? this.query.part : 'conversation';
    const asked = this.query.attempt ? { attempt } : {};
    const detail = await get(traceAt(this.trace, 'steps', row.step), { ...asked, composition: part === 'usage' }, { signal });
    const made = row.attempts.find((one) => one.attempt === Number(attempt)) ?? row.attempts.at(-1);
    const nodes = [this.figures(row, detail), this.attempts(row, Number(attempt))];
    nodes.push(
      el(
        'nav',
        { class: 'tabs', 'aria-label': 'Parts of the step' },
        PARTS.map(([name, title]) => el('a', { href: this.place({ part: name === 'conversation' ? '' : name }), 'aria-current': name === part ? 'page' : null }, title)),
      ),
    );
    if (part === 'conversation') nodes.push(this.conversation(row, detail, asked));
    else if (part === 'usage') nodes.push(this.usage(detail));
    else if (part === 'parameters') nodes.push(this.parameters(detail));
    else nodes.push(await this.passed(made.call, signal));
    return nodes;
  }

  figures(row, detail) {
    const usage = detail.step.usage;
    return figures(
      figure('time', duration(row.duration_ms)),
      row.stream && figure('first token', duration(row.ttft_ms)),
      row.tpot_ms !== null && figure('per token', `${row.tpot_ms.toFixed(1)} ms`),
      figure('input', usage ? count(usage.input_total) : UNKNOWN, { note: usage?.cache_read > 0 ? `${percent(usage.cache_read / usage.input_total)} from the cache` : null }),
      figure('output', usage ? count(usage.output_total) : UNKNOWN),
      figure('cost', row.cost ? money(row.cost.usd, row.cost.at_least) : UNKNOWN),
      figure('ended with', oneLine(row.finish_reason ?? UNKNOWN, 30)),
    );
  }

  attempts(row, current) {
    if (row.attempts.length < 2 && !row.attempts.some((one) => one.state !== 'complete' || one.status >= 400)) return null;
    const one = (attempt) => {
      const bad = attempt.state !== 'complete' || (attempt.status ?? 0) >= 400;
      const words = [
        `${attempt.attempt}: `,
        attempt.status ?? 'no answer',
        attempt.state !== 'complete' && ` ${attempt.state.replaceAll('_', ' ')}`,
        ` · ${duration(attempt.duration_ms)}`,
        attempt.retry_layer && ` · tried again by the ${attempt.retry_layer}`,
        attempt.backoff_ms > 0 && ` after ${duration(attempt.backoff_ms)}`,
        attempt.retry_after_ms !== null && ` · asked to wait ${duration(attempt.retry_after_ms)}`,
        attempt.upstream && ` · ${attempt.upstream}`,
      ];
      const last = attempt.attempt === row.attempts.length;
      return el('li', {}, el('a', { class: `chip ${bad ? 'bad' : 'good'}`, href: this.place({ attempt: last ? '' : attempt.attempt }), 'aria-current': attempt.attempt === current ? 'true' : null }, words));
    };
    return el('ul', { class: 'attempts', 'aria-label': 'Attempts' }, row.attempts.map(one));
  }

  conversation(row, detail, asked) {
    const texts = textsOf(detail.cut, traceAt(this.trace, 'steps', row.step, 'text'), asked);
    const { system, messages, known_messages: known, tools_offered: offered } = detail.request;
    const names = toolNames(messages);
    const nodes = [];
    if (system.length > 0) {
      nodes.push(
        el('details', { class: 'earlier' }, el('summary', {}, 'System prompt'), message({ role: 'system', parts: system }, '/request/system', texts)),
      );
    }
    if (offered.length > 0) nodes.push(el('p', { class: 'offered' }, `${plural(offered.length, 'tool')} offered: `, offered.map((name, at) => [at > 0 && ', ', el('code', {}, oneLine(name, 60))])));
    const foldable = messages.length - known > 60;
    if (known > 0 && !foldable) nodes.push(earlier(messages.slice(0, known), '/request/messages', texts, names));
    const fresh = messages.slice(known);
    nodes.push(el('h3', { class: 'new' }, known > 0 ? 'New in this step' : 'Asked'));
    if (fresh.length === 0) nodes.push(el('p', { class: 'muted' }, messages.length === 0 ? 'No message can be read in this request.' : 'Nothing: the messages are those of the step before.'));
    // A first request may be long by itself.
    if (foldable) nodes.push(earlier(messages.slice(0, messages.length - 20), '/request/messages', texts, names));
    const from = foldable ? messages.length - 20 : known;
    messages.slice(from).forEach((one, at) => nodes.push(message(one, `/request/messages/${from + at}/parts`, texts, names)));
    nodes.push(el('h3', { class: 'new' }, 'Answered'), this.answer(row, detail, texts));
    return el('div', { class: 'conversation' }, nodes);
  }

  answer(row, detail, texts) {
    const answer = detail.response;
    if (!answer) return el('p', { class: 'muted' }, row.attempts.at(-1)?.state === 'in_flight' ? 'The answer has not come yet.' : 'There is no answer that could be read.');
    const result = (call) => {
      const at = detail.response.tool_calls.indexOf(call);
      const tool = detail.tools.find((one) => one.sub === at + 1);
      if (!tool) return null;
      const { outcome, result: given } = tool.tool;
      const place = detail.tools.indexOf(tool);
      const shown =
        outcome === null
          ? el('p', { class: 'muted' }, 'No result was seen.')
          : el('details', { class: `tool-result ${outcome === 'ok' || outcome === 'null' ? '' : 'failed'}` }, el('summary', {}, `${outcome} after ${tool.tool.source === 'inferred' ? 'at most ' : ''}${duration(tool.duration_ms)}`), valueBlock(given, `/tools/${place}/tool/result`, texts));
      return { shown, href: this.place({ step: `${tool.step}.${tool.sub}`, attempt: '', part: '' }) };
    };
    const { error, text, reasoning: thought, tool_calls: calls, server_tool_calls: own, truncated } = answer;
    const nodes = [
      error && el('div', { class: 'notice bad' }, el('b', {}, oneLine(error.kind ?? 'error', 80)), block(error.message ?? '')),
      thought && reasoning(thought, '/response/reasoning', texts),
      text && texts(text, '/response/text'),
      calls.map((call, at) => toolCall(call, `/response/tool_calls/${at}`, texts, result)),
      own.length > 0 && el('p', { class: 'muted' }, 'The provider ran: ', own.map((name, at) => [at > 0 && ', ', oneLine(name, 60)])),
      truncated && el('p', { class: 'notice warn' }, 'The stream ended before its end.'),
    ];
    const some = nodes.flat().some(Boolean);
    return el('article', { class: 'message assistant' }, el('h4', {}, 'Assistant'), some ? nodes : el('p', { class: 'muted' }, 'nothing'));
  }

  usage(detail) {
    const { usage, cost, composition } = detail.step;
    const costs = detail.cost_by_leaf;
    const row = ([leaf, name]) => {
      const tokens = usage?.[leaf];
      if ((tokens ?? 0) === 0 && !(costs?.[leaf] > 0)) return null;
      return el('tr', {}, el('th', { scope: 'row' }, name), el('td', { class: 'number' }, tokens === undefined ? '' : count(tokens)), el('td', { class: 'number' }, costs ? money(costs[leaf]) : UNKNOWN));
    };
    const nodes = [];
    if (usage) {
      nodes.push(el('table', { class: 'small' }, el('thead', {}, el('tr', {}, ['', 'tokens', 'cost'].map((text, at) => el('th', { scope: 'col', class: at ? 'number' : null }, text)))), el('tbody', {}, LEAVES.map(row))));
    } else nodes.push(el('p', { class: 'muted' }, 'The answer says nothing of tokens.'));
    if (cost) nodes.push(el('p', { class: 'muted' }, 'Price: ', oneLine(cost.price_source, 120), cost.price_version && `, version ${cost.price_version}`, cost.at_least && '. The true cost may be larger: some of it is not known.'));
    if (composition) {
      const parts = ['system', 'tool_definitions', 'user', 'assistant', 'tool_results', 'reasoning', 'held_by_provider'].filter((name) => composition[name] > 0);
      nodes.push(
        el('h3', {}, 'What the input consists of'),
        el('div', { class: 'stack', role: 'img', 'aria-label': parts.map((name) => `${name.replaceAll('_', ' ')} ${percent(composition[name] / composition.input_tokens)}`).join(', ') }, parts.map((name) => el('i', { class: `part-${name}`, style: { flex: composition[name] }, title: name.replaceAll('_', ' ') }))),
        el('table', { class: 'small' }, el('tbody', {}, parts.map((name) => el('tr', {}, el('th', { scope: 'row' }, el('i', { class: `dot part-${name}` }), name.replaceAll('_', ' ')), el('td', { class: 'number' }, count(composition[name])), el('td', { class: 'number' }, percent(composition[name] / composition.input_tokens)))))),
        el('p', { class: 'muted' }, `Estimates by ${composition.tokenizer}${composition.scaled ? ', scaled to the provider’s own count' : ''}.`),
      );
    }
    if (usage?.raw) nodes.push(el('details', {}, el('summary', {}, 'As the provider reported it'), block(JSON.stringify(usage.raw, null, 2))));
    return el('div', { class: 'conversation' }, nodes);
  }

  parameters(detail) {
    const all = Object.entries(detail.request.parameters);
    if (all.length === 0) return el('p', { class: 'muted' }, 'The request has no parameters beside its messages.');
    return el(
      'table',
      { class: 'small parameters' },
      el('tbody', {}, all.map(([name, value]) => el('tr', {}, el('th', { scope: 'row' }, oneLine(name, 80)), el('td', {}, typeof value === 'object' && value !== null ? block(JSON.stringify(value, null, 2)) : block(String(value)))))),
    );
  }

  async passed(call, signal) {
    if (isFile) return el('p', { class: 'muted' }, 'Headers and bytes as they passed are not in the file.');
    const at = traceAt(this.trace, 'calls', call);
    const head = await get(at, {}, { signal });
    const box = el('div', { class: 'conversation' });
    const curl = copyButton(async () => new TextDecoder().decode(await getBytes(`${at}/curl`)), { label: 'Copy as curl' });
    add(box, [
      el('p', {}, curl, ' ', el('span', { class: 'muted' }, 'with $API_KEY in the place of credentials, which are never stored')),
      el('h3', {}, 'Request'),
      el('p', {}, el('code', {}, recorded(`${head.method} ${head.path}`)), ' ', el('small', {}, clock(head.sent_unix_ms))),
      this.headers(head.request.headers),
      await this.body(at, 'request', head.request, signal),
      el('h3', {}, 'Response'),
    ]);
    if (head.response) {
      const { status, pieces } = head.response;
      const how = head.ending?.ending ?? 'not over';
      add(box, [
        el('p', {}, el('code', {}, `HTTP ${status}`), ' ', el('small', {}, `${plural(pieces, 'piece')}, ${how.replaceAll('_', ' ')}${head.ending?.error ? `: ${head.ending.error}` : ''}`)),
        this.headers(head.response.headers),
        await this.body(at, 'response', head.response, signal),
      ]);
    } else box.append(el('p', { class: 'muted' }, head.ending ? `None: ${head.ending.ending.replaceAll('_', ' ')}${head.ending.error ? `, ${head.ending.error}` : ''}` : 'It has not come yet.'));
    return box;
  }

  headers(all) {
    return el('details', { class: 'earlier' }, el('summary', {}, plural(all.length, 'header')), el('table', { class: 'small parameters' }, el('tbody', {}, all.map(([name, value]) => el('tr', {}, el('th', { scope: 'row' }, recorded(name)), el('td', {}, block(value)))))));
  }

  async body(at, which, head, signal) {
    if (head.bytes === 0) return el('p', { class: 'muted' }, 'without a body');
    const first = await getBytes(`${at}/${which}`, { length: SHOWN_BYTES, decoded: true }, { signal });
    const text = readable(first);
    return el(
      'div',
      {},
      block(text, { class: 'raw', tabindex: '0' }),
      el('p', { class: 'cut' }, head.bytes > first.length ? `The first ${bytes(first.length)} of ${bytes(head.bytes)}. ` : `${bytes(head.bytes)}. `, el('a', { href: downloadAddress(`${at}/${which}`), download: '' }, 'Save the exact bytes')),
    );
  }

  async tool(row, signal) {
    const detail = await get(traceAt(this.trace, 'steps', row.step), {}, { signal });
    const at = detail.tools.findIndex((one) => one.sub === row.sub);
    if (at < 0) return this.loneRow(row, signal);
    const texts = textsOf(detail.cut, traceAt(this.trace, 'steps', row.step, 'text'));
    return this.toolNodes(detail.tools[at], `/tools/${at}/tool`, texts);
  }

  async loneRow(row, signal) {
    const entry = await get(traceAt(this.trace, 'rows', row.at), {}, { signal });
    const texts = textsOf(entry.cut, traceAt(this.trace, 'rows', row.at, 'text'));
    if (row.kind === 'tool') return this.toolNodes(entry, '/tool', texts);
    const made = row.attempts.at(-1);
    return [
      figures(figure('time', duration(row.duration_ms)), figure('provider', oneLine(row.provider ?? UNKNOWN, 40)), figure('status', made?.status ?? UNKNOWN)),
      row.parent_step && el('p', {}, 'Made by a tool of ', el('a', { href: this.place({ step: row.parent_step }) }, `step ${row.parent_step}`), '.'),
      this.attempts(row, row.attempts.length),
      made && (await this.passed(made.call, signal)),
    ];
  }

  toolNodes(entry, pointer, texts) {
    const { tool } = entry;
    const good = tool.outcome === 'ok' || tool.outcome === 'null';
    return [
      figures(
        figure('outcome', tool.outcome ? badge(tool.outcome, good ? 'good' : 'bad') : UNKNOWN),
        figure('time', [tool.source === 'inferred' && '≤ ', duration(entry.duration_ms)]),
        figure('known from', tool.source === 'inferred' ? 'the model’s calls' : oneLine(tool.source, 30)),
        tool.via && figure('run by', oneLine(tool.via, 40)),
      ),
      tool.source === 'inferred' && el('p', { class: 'muted' }, 'Its time is an upper bound: from the answer that asks for it to the request that carries its result.'),
      entry.step !== null && el('p', {}, 'Asked for by ', el('a', { href: this.place({ step: entry.step, attempt: '', part: '' }) }, `step ${entry.step}`), tool.call_id && [' as ', el('code', {}, oneLine(tool.call_id, 80))], '.'),
      el('h3', {}, 'Arguments'),
      tool.arguments === null ? el('p', { class: 'muted' }, 'none that were seen') : valueBlock(tool.arguments, `${pointer}/arguments`, texts),
      el('h3', {}, 'Result'),
      tool.result === null ? el('p', { class: 'muted' }, tool.outcome === 'null' ? 'null' : 'none that was seen') : valueBlock(tool.result, `${pointer}/result`, texts),
    ];
  }
}

// Bytes as text if they are, else as a hex dump.
function readable(array) {
  try {
    // A character that was cut in two at the end is no reason for a dump.
    return new TextDecoder('utf-8', { fatal: true }).decode(array, { stream: true });
  } catch {
    const lines = [];
    for (let at = 0; at < Math.min(array.length, 4096); at += 16) {
      const part = [...array.slice(at, at + 16)];
      const hex = part.map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
      const text = part.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : '.')).join('');
      lines.push(`${at.toString(16).padStart(6, '0')}  ${hex.padEnd(47)}  ${text}`);
    }
    return lines.join('\n');
  }
}

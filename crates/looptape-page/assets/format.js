// Figures as people read them. What is not known is an em dash, never 0.

export const UNKNOWN = '–';

export function duration(ms) {
  if (ms === null || ms === undefined) return UNKNOWN;
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(2)} s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
  if (ms < 172_800_000) return `${Math.floor(ms / 3_600_000)} h ${Math.round((ms % 3_600_000) / 60_000)} min`;
  const hours = Math.round(ms / 3_600_000);
  return `${Math.floor(hours / 24)} d${hours % 24 > 0 ? ` ${hours % 24} h` : ''}`;
}

// Four significant digits of what is less than a dollar, cents above.
export function money(usd, atLeast = false, significantDigits = 4) {
  if (usd === null || usd === undefined) return UNKNOWN;
  const digits = usd === 0 ? '0' : usd >= 1 ? usd.toFixed(2) : significant(usd, significantDigits);
  return `${atLeast ? '≥' : ''}$${digits}`;
}

function significant(value, digits) {
  const places = Math.min(12, digits - 1 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.max(2, places)).replace(/(\.\d\d\d*?)0+$/, '$1');
}

export function count(n) {
  if (n === null || n === undefined) return UNKNOWN;
  return n.toLocaleString('en-GB').replaceAll(',', '\u202f');
}

// Tokens and the like: 940, 12.3k, 1.2M.
export function short(n) {
  if (n === null || n === undefined) return UNKNOWN;
  if (n < 10_000) return count(n);
  if (n < 1_000_000) return `${(n / 1000).toFixed(n < 100_000 ? 1 : 0)}k`;
  return `${(n / 1_000_000).toFixed(1)}M`;
}

export function bytes(n) {
  if (n === null || n === undefined) return UNKNOWN;
  if (n < 1000) return `${n} B`;
  if (n < 1_000_000) return `${(n / 1000).toFixed(n < 10_000 ? 1 : 0)} KB`;
  return `${(n / 1_000_000).toFixed(1)} MB`;
}

export function percent(share, digits = 0) {
  return share === null || share === undefined ? UNKNOWN : `${(share * 100).toFixed(digits)} %`;
}

export function plural(n, one, many = `${one}s`) {
  return `${count(n)} ${n === 1 ? one : many}`;
}

// How long ago, for what is recent; then the day.
export function ago(unixMs, now = Date.now()) {
  const seconds = Math.max(0, Math.round((now - unixMs) / 1000));
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  if (seconds < 30 * 86_400) return `${Math.floor(seconds / 86_400)} d ago`;
  return day(unixMs);
}

export function day(unixMs) {
  const date = new Date(unixMs);
  const two = (n) => String(n).padStart(2, '0');
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

export function clock(unixMs) {
  const date = new Date(unixMs);
  const two = (n) => String(n).padStart(2, '0');
  return `${day(unixMs)} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

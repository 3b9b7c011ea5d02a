// What tokens are billed as.
export const LEAVES = [
  ['uncached_input', 'input'],
  ['cache_read', 'input, read from the cache'],
  ['cache_write_5m', 'input, written to the cache'],
  ['cache_write_1h', 'input, written for an hour'],
  ['output_visible', 'output'],
  ['reasoning', 'output, reasoning'],
  ['web_search', 'web searches'],
  ['other', 'fees'],
];

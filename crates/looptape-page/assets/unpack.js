// Answers as they are packed in a file (src/pack.rs), and back. What stands in the table is unpacked when it is wanted.

export function unpack(table, packed) {
  if (Array.isArray(packed)) return packed.map((one) => unpack(table, one));
  if (packed === null || typeof packed !== 'object') return packed;
  if ('$' in packed) return unpack(table, table[packed.$]);
  if ('$+' in packed) return joined(table, packed);
  const pairs = '$o' in packed ? packed.$o : Object.entries(packed);
  return Object.fromEntries(pairs.map(([key, one]) => [key, unpack(table, one)]));
}

// A history of a thousand steps goes back a thousand times: in a loop, not by calling itself.
function joined(table, packed) {
  const tails = [];
  let length = Infinity;
  let at = packed;
  while (!Array.isArray(at)) {
    const [before, same, more] = at['$+'];
    tails.push(more.slice(0, Math.max(0, length - same)));
    length = Math.min(length, same);
    at = table[before];
  }
  return at.slice(0, length).concat(...tails.reverse()).map((one) => unpack(table, one));
}

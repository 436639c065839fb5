const MOST_WORDS = 400; // of a text that is compared; what follows is left as it is

/** What differs between two texts, word by word, as pieces for `marked`: what the first has alone is "out".
 * @param {string} before @param {string} after @returns {[string, string][]} */
export function wordDifference(before, after) {
  const words = (text) => text.match(/\s+|[\p{L}\p{N}]+|./gu) ?? [];
  const [old, now] = [words(before), words(after)];
  if (Math.max(old.length, now.length) > MOST_WORDS) return [["same", after]];
  // length[i][j]: of the longest common run of words in old from i on and now from j on
  const length = Array.from({ length: old.length + 1 }, () => new Uint16Array(now.length + 1));
  for (let i = old.length - 1; i >= 0; i--)
    for (let j = now.length - 1; j >= 0; j--)
      // eslint-disable-next-line no-restricted-syntax -- a list of numbers
      length[i][j] = old[i] === now[j] ? length[i + 1][j + 1] + 1 : Math.max(length[i + 1][j], length[i][j + 1]);
  const pieces = [];
  const add = (kind, text) => {
    if (pieces.at(-1)?.[0] === kind) pieces.at(-1)[1] += text;
    else pieces.push([kind, text]);
  };
  let [i, j] = [0, 0];
  while (i < old.length || j < now.length) {
    if (i < old.length && old[i] === now[j]) add("same", old[(j++, i++)]);
    else if (j === now.length || (i < old.length && length[i + 1][j] >= length[i][j + 1])) add("out", old[i++]);
    else add("in", now[j++]);
  }
  return pieces;
}

/** What differs between two texts, as marked pieces. @param {[string, string][]} pieces */
function marked(pieces) {
  const tags = { same: "span", out: "del", in: "ins", cut: "small" };
  return make(
    "pre",
    { className: "etabli-difference" },
    pieces.map(([kind, text]) => make(tags[kind], { textContent: visible(text) })),
  );
}

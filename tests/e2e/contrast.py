"""The contrast of every text of a page with what lies behind it, as WCAG 2.2 computes it."""

from typing import Any

# Colours are read off a pixel, so that any notation counts. Opacity and every background of the ancestors are laid over
# each other. Returned: [number of texts, the worst of those under the limit as [ratio, text, element]].
LOW_CONTRAST = """([root, limit]) => {
  for (const fold of document.querySelectorAll("details")) fold.open = true;
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const rgba = (text) => {
    if (!known.has(text)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = text;
      canvas.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
      known.set(text, [r, g, b, a / 255]);
    }
    return known.get(text);
  };
  const over = (top, below, share = 1) => below.map((value, at) => value + (top[at] - value) * top[3] * share);
  const luminance = (colour) => {
    const [r, g, b] = colour.map((value) => value / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const chain = (node) => (node ? [...chain(node.parentElement), node] : []);
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const scheme = getComputedStyle(document.documentElement).colorScheme;
  const canvasColour = dark && scheme.includes("dark") ? [18, 18, 18] : [255, 255, 255];
  const behind = (parent) => {
    let [below, share] = [canvasColour, 1];
    for (const node of chain(parent)) {
      const style = getComputedStyle(node);
      share *= Number(style.opacity);
      below = over(rgba(style.backgroundColor), below, share);
    }
    return [below, share];
  };
  const ratio = (one, other) => {
    const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const low = [];
  let count = 0;
  const judge = (parent, text, colour) => {
    const [below, share] = behind(parent);
    const found = ratio(over(rgba(colour), below, share), below);
    count += 1;
    const name = `${parent.tagName}.${parent.className?.baseVal ?? parent.className}`;
    if (found < limit) low.push([Number(found.toFixed(2)), text.trim().slice(0, 40), name]);
  };
  for (const element of document.querySelectorAll(`${root} *`)) {
    if (!element.checkVisibility({ visibilityProperty: true }) || element.closest("style, script, .plot")) continue;
    const style = getComputedStyle(element);
    const text = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data).join(" ");
    if (text.trim()) judge(element, text, element.closest("svg") ? style.fill : style.color);
    if (element.placeholder) judge(element, element.placeholder, getComputedStyle(element, "::placeholder").color);
    else if (element.value && element.tagName !== "LI" && element.tagName !== "PROGRESS" && element.type !== "range")
      judge(element, String(element.value), style.color);
  }
  return [count, low.sort((a, b) => a[0] - b[0]).slice(0, 12)];
}"""


def low_contrast(page: Any, root: str = "body", limit: float = 4.5) -> tuple[int, list[Any]]:
    """Return how many texts there are, and the worst of those whose contrast is below the limit."""
    count, low = page.evaluate(LOW_CONTRAST, [root, limit])
    return count, low

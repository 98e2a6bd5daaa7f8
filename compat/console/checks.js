// What holds for every page, looked at from inside of it: runs in the browser and returns what is wrong, in words.
"use strict";

module.exports = function checks() {
  const wrong = [];
  const all = (selector) => [...document.querySelectorAll(selector)];
  const visible = (element) => element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true });
  const told = (element) => element.outerHTML.slice(0, 120);
  const one = (selector) => { if (all(selector).length !== 1) wrong.push(`${all(selector).length} of ${selector}, not 1`); };

  one("h1");
  one("main");
  one("title");
  if (!document.documentElement.lang) wrong.push("the page names no language");

  const ids = all("[id]").map((element) => element.id);
  for (const id of new Set(ids)) if (ids.filter((other) => other === id).length > 1) wrong.push(`the id ${id} comes more than once`);

  // Whoever does not see the page has a name for everything that can be worked with.
  for (const field of all("input:not([type=hidden]), select, textarea")) {
    const named = field.getAttribute("aria-label") || [...(field.labels || [])].some((label) => label.textContent.trim());
    if (!named) wrong.push(`no label: ${told(field)}`);
  }
  for (const element of all("a[href], button")) {
    const name = element.getAttribute("aria-label") || element.textContent.trim() || element.querySelector("img[alt]")?.alt;
    if (!name) wrong.push(`no name: ${told(element)}`);
  }
  for (const image of all("img:not([alt])")) wrong.push(`no alternative: ${told(image)}`);
  for (const picture of all("svg:not([aria-label]):not([aria-hidden])")) wrong.push(`a picture without words: ${told(picture)}`);
  for (const head of all("th:not([scope])")) wrong.push(`a heading of nothing: ${told(head)}`);
  for (const element of all("[tabindex]")) if (element.tabIndex > 0) wrong.push(`an order of its own: ${told(element)}`);

  const over = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (over > 0) {
    const wide = all("main *").filter((element) => element.getBoundingClientRect().right > document.documentElement.clientWidth + 1 && !element.closest(".scroll, .rooms"));
    wrong.push(`wider than the screen by ${over} px: ${wide.slice(-1).map(told)}`);
  }

  // Contrast as WCAG 2 counts it: 4.5 for text, 3 for large text. Colours are painted to learn what they are.
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const paint = canvas.getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const rgba = (colour) => {
    if (!known.has(colour)) {
      paint.clearRect(0, 0, 1, 1);
      paint.fillStyle = colour;
      paint.fillRect(0, 0, 1, 1);
      known.set(colour, [...paint.getImageData(0, 0, 1, 1).data]);
    }
    return known.get(colour);
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const light = (colour) => {
    const part = (value) => { const share = value / 255; return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4; };
    return 0.2126 * part(colour[0]) + 0.7152 * part(colour[1]) + 0.0722 * part(colour[2]);
  };
  const texts = all("body *").filter((element) => visible(element) && [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
  const seen = new Set();
  for (const element of texts.slice(0, 2000)) {
    const style = getComputedStyle(element);
    const [front, back] = [rgba(style.color), ground(element)];
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const key = `${front} ${back} ${large}`;
    if (seen.has(key)) continue;
    seen.add(key);
    const [more, less] = [light(front), light(back)].sort((a, b) => b - a);
    const contrast = (more + 0.05) / (less + 0.05);
    if (contrast < (large ? 3 : 4.5)) wrong.push(`contrast ${contrast.toFixed(2)}: ${told(element)}`);
  }
  return wrong;
};

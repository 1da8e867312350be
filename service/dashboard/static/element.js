// Elements are made with text nodes only: nothing that a newsroom or a reader wrote is ever parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";

const build = (element, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
};

export const html = (tag, attributes = {}, ...children) => build(document.createElement(tag), attributes, children);
export const svg = (tag, attributes = {}, ...children) => build(document.createElementNS(SVG, tag), attributes, children);
export const at = (id) => document.getElementById(id);

/** Puts `children` into the element, unless they are what it already shows (keeps focus, selection and screen readers calm). */
export const show = (element, ...children) => {
  const next = build(element.cloneNode(false), {}, children);
  if (!next.isEqualNode(element)) element.replaceChildren(...next.childNodes);
};

import { tick } from "./format.js";
import uPlot from "./vendor/uplot/uPlot.esm.js";

// Canvas cannot read custom properties, so the palette is looked up whenever a chart draws: a change of colour scheme needs
// only a redraw.
const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const FONT = '11px -apple-system, BlinkMacSystemFont, "Segoe UI", Inter, Roboto, "Helvetica Neue", Cantarell, "Liberation Sans", Arial, sans-serif';

const axis = (more) => ({
  font: FONT,
  stroke: () => ink("faint"),
  grid: { stroke: () => ink("grid"), width: 1 },
  ticks: { show: false },
  border: { show: false },
  gap: 6,
  ...more,
});

const clockAxis = (more = {}) =>
  axis({
    grid: { show: false },
    space: 64,
    values: (u, ticks, index, space, step) => ticks.map((at) => tick(at, step)),
    ...more,
  });

/** Colour by the sign of y: explore's above zero, current's below. */
const bySign = (above, below) => (u) => {
  const zero = u.valToPos(0, "y", true);
  const { top, height } = u.bbox;
  const cut = Math.min(1, Math.max(0, (zero - top) / height));
  const gradient = u.ctx.createLinearGradient(0, top, 0, top + height);
  gradient.addColorStop(0, ink(above));
  gradient.addColorStop(cut, ink(above));
  gradient.addColorStop(cut, ink(below));
  gradient.addColorStop(1, ink(below));
  return gradient;
};

const zeroLine = (u) => {
  const y = Math.round(u.valToPos(0, "y", true)) + 0.5;
  u.ctx.save();
  u.ctx.strokeStyle = ink("neutral");
  u.ctx.lineWidth = devicePixelRatio;
  u.ctx.beginPath();
  u.ctx.moveTo(u.bbox.left, y);
  u.ctx.lineTo(u.bbox.left + u.bbox.width, y);
  u.ctx.stroke();
  u.ctx.restore();
};

const sideNames = (u) => {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.font = FONT.replace("11px", `${11 * devicePixelRatio}px`);
  ctx.textAlign = "right";
  const x = bbox.left + bbox.width - 4 * devicePixelRatio;
  ctx.fillStyle = ink("explore");
  ctx.textBaseline = "top";
  ctx.fillText("explore ahead", x, bbox.top + 2 * devicePixelRatio);
  ctx.fillStyle = ink("current");
  ctx.textBaseline = "bottom";
  ctx.fillText("current ahead", x, bbox.top + bbox.height - 2 * devicePixelRatio);
  ctx.restore();
};

const LEFT = 52; // one left margin for the stacked charts, so that a moment is one vertical line

const base = (height, onMove) => ({
  width: 300,
  height,
  padding: [8, 18, 0, 0],
  legend: { show: false },
  cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
  hooks: { setCursor: [(u) => onMove(u.cursor.idx ?? null)] },
});

/** A range around zero that holds the values, with a tenth to spare. */
const around = (least, values) => {
  const reach = 1.1 * values.reduce((most, value) => Math.max(most, Math.abs(value ?? 0)), least);
  return [-reach, reach];
};

// The band starts as wide as the scale of outcomes: ranging over its settled part keeps the rest from being flat.
const settled = (values) => values.slice(Math.floor(values.length / 3));

const meanOptions = (onMove, sync) => {
  const options = base(200, onMove);
  options.hooks.drawAxes = [zeroLine];
  options.hooks.draw = [sideNames];
  options.cursor.sync = sync;
  options.scales = { x: { time: true }, y: { range: (u) => around(0.02, u.data.slice(1).flatMap(settled)) } };
  options.axes = [
    clockAxis({ size: 4, values: (u, ticks) => ticks.map(() => "") }),
    axis({ size: LEFT, values: (u, ticks) => ticks.map((y) => (y === 0 ? "0" : y.toFixed(2).replace("-", "−"))) }),
  ];
  options.series = [
    {},
    { stroke: "transparent", width: 0, points: { show: false } },
    { stroke: "transparent", width: 0, points: { show: false } },
    { stroke: bySign("explore", "current"), width: 2, points: { show: false } },
  ];
  options.bands = [{ series: [2, 1], fill: bySign("explore-tint", "current-tint") }];
  return options;
};

const barOptions = (onMove, sync) => {
  const options = base(120, onMove);
  const bars = uPlot.paths.bars({ size: [0.62, 14], radius: 0.25 });
  options.hooks.draw = [zeroLine];
  options.cursor.sync = sync;
  options.scales = { x: { time: true }, y: { range: (u) => around(1, u.data.slice(1).flat()) } };
  options.axes = [
    clockAxis({ size: 26 }),
    axis({ size: LEFT, space: 18, values: (u, ticks) => ticks.map((y) => (Number.isInteger(y) ? String(Math.abs(y)) : "")) }),
  ];
  options.series = [
    {},
    { fill: () => ink("explore"), width: 0, paths: bars, points: { show: false } },
    { fill: () => ink("current"), width: 0, paths: bars, points: { show: false } },
  ];
  return options;
};

const rateOptions = (onMove) => {
  const options = base(236, onMove);
  options.scales = { x: { time: true }, y: { range: (u, low, high) => [0, Math.max(0.01, high ?? 0) * 1.12] } };
  options.axes = [
    clockAxis({ size: 26 }),
    axis({ size: LEFT, space: 48, values: (u, ticks) => ticks.map((y) => `${+(100 * y).toFixed(1)} %`) }),
  ];
  options.series = [{}, { stroke: () => ink("ink"), width: 2, points: { show: false }, spanGaps: false }];
  return options;
};

const KINDS = { mean: meanOptions, bars: barOptions, rate: rateOptions };

/**
 * A chart in `host` that keeps to its width. `set(data, [from, to])` redraws; the time axis is the window that was asked for, or
 * what there is of it.
 */
export const chart = (kind, host, onMove, sync) => {
  let plot = null;
  let range = [0, 1];
  const create = (data) => {
    const options = KINDS[kind](onMove, sync);
    options.scales.x.range = () => range;
    options.width = host.clientWidth;
    options.height = height();
    plot = new uPlot(options, data, host);
  };
  const height = () => (host.classList.contains("fill") ? host.clientHeight : KINDS[kind](onMove, sync).height);
  new ResizeObserver(() => {
    if (plot && host.clientWidth > 0) plot.setSize({ width: host.clientWidth, height: height() });
  }).observe(host);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plot?.redraw(false, true));
  return {
    set(data, span) {
      range = span;
      if (plot === null) create(data);
      else plot.setData(data);
    },
  };
};

/** Charts that share a key share their cursor: {key, match} as uPlot wants it. */
export const together = (key) => ({ key: uPlot.sync(key).key, scales: ["x", null] });

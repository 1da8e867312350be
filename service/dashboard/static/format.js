// Numbers and times as people read them: a number and its unit stay on one line. Times are seconds since 1970, durations seconds.

const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const clockSeconds = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const dayClock = new Intl.DateTimeFormat(undefined, { weekday: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });
const weekdayLocal = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "short", timeZone: "UTC" });

export const count = (n) => (n >= 100_000 ? compact.format(n) : whole.format(n));
export const percent = (share, digits = 1) => (share === null || Number.isNaN(share) ? "–" : `${(100 * share).toFixed(digits)}\u00a0%`);
/** A real minus sign, and a plus where the sign is the message. */
export const signed = (x, digits = 2) => (x === null ? "–" : `${x < 0 ? "−" : "+"}${Math.abs(x).toFixed(digits)}`);
/** What a person has set, as it was set: 6 digits are what 32 bits keep of it. */
export const asSet = (x) => `${x < 0 ? "−" : "+"}${+Math.abs(x).toPrecision(6)}`;
export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

export const time = (at) => clockSeconds.format(at * 1000);
export const moment = (at, span) => (span > 36 * 3600 ? dayClock : span < 3 * 3600 ? clockSeconds : clock).format(at * 1000);
/** A mark of a time axis whose marks are `step` apart: midnights are days. */
export const tick = (at, step) => {
  const local = new Date(at * 1000);
  if (local.getHours() === 0 && local.getMinutes() === 0 && local.getSeconds() === 0) return weekdayLocal.format(local);
  return (step < 60 ? clockSeconds : clock).format(local);
};
/** Whichever day it was. */
export const stamp = (at) => full.format(at * 1000);
export const day = (at) => weekday.format(at * 1000);
export const iso = (at) => new Date(at * 1000).toISOString();

export const duration = (seconds) => {
  if (seconds < 1) return `${Math.max(1, Math.round(seconds * 1000))}\u00a0ms`;
  if (seconds < 10) return `${+seconds.toFixed(1)}\u00a0s`;
  if (seconds < 120) return `${Math.round(seconds)}\u00a0s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)}\u00a0min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)}\u00a0h`;
  return `${Math.round(seconds / 86_400)}\u00a0days`;
};
export const ago = (at, now) => (now - at < 2 ? "just now" : `${duration(Math.floor(now - at))} ago`);

// The parts that are words, tallies and tables. Each takes the served document and writes into its own place.

import { ago, count, day, duration, iso, moment, percent, plural, signed, time } from "./format.js";
import { at, html, show, svg } from "./element.js";
import { KINDS } from "./lineage.js";
import { keepingFocus, takeDownButton } from "./takedown.js";

const hide = (id, hidden) => {
  at(id).hidden = hidden;
};

const standing = ({ wins, losses }) => {
  if (wins + losses === 0) return ["No list of the live duel has a winner yet."];
  const explore = html("b", { class: "in-explore" }, "explore");
  const current = html("b", { class: "in-current" }, "current");
  return ["In the live duel ", explore, ` has won ${plural(wins, "list")} and `, current, ` ${count(losses)}.`];
};

export const lead = (data) => {
  const { served, duel, totals, now } = data;
  if (served === null) {
    show(at("headline"), "No version has been published yet. The learner writes the first one when it starts.");
  } else {
    const words = ["Version ", html("b", {}, String(served.version)), ` is served: ${KINDS[served.kind]}, ${ago(served.at, now)}. `];
    if (duel && duel.impressions > 0) words.push(...standing(duel));
    else words.push("Its duel waits for its first settled lists.");
    show(at("headline"), ...words);
  }
  const rate = totals.shown > 0 ? totals.clicks / totals.shown : null;
  const figures = [
    ["lists served", count(totals.lists)],
    ["clicks", count(totals.clicks)],
    ["click-through", percent(rate)],
    ["live articles", count(totals.articles)],
  ];
  if (totals.readers_today !== null) figures.splice(3, 0, ["readers today", count(totals.readers_today)]);
  if (totals.fallbacks > 0) figures.push(["fallback lists", count(totals.fallbacks)]);
  show(at("totals"), figures.map(([name, value]) => html("div", {}, html("dt", {}, name), html("dd", {}, value))));
};

const share = (part, of) => (of > 0 ? Math.max(0, Math.min(1, part / of)) : 0);

const progress = (done, window) =>
  svg(
    "svg",
    { viewBox: "0 0 300 8", preserveAspectRatio: "none", "aria-hidden": "true", height: 8 },
    svg("rect", { class: "s-track", width: 300, height: 8, rx: 4 }),
    svg("rect", { class: "s-soft", width: 300 * share(done, window), height: 8, rx: 4 }),
  );

const SCALE = 4; // the z axis runs from −4 to 4: beyond it a marker rests at the end
const onScale = (z) => 150 + (140 * Math.max(-SCALE, Math.min(SCALE, z))) / SCALE;

const zAxis = (z, lossZ) =>
  svg(
    "svg",
    { viewBox: "0 0 300 44", "aria-hidden": "true" },
    lossZ === null ? null : svg("rect", { class: "s-danger", x: 10, y: 8, width: onScale(lossZ) - 10, height: 14, rx: 3 }),
    svg("line", { class: "s-axis", x1: 10, x2: 290, y1: 15, y2: 15 }),
    svg("line", { class: "s-axis", x1: 150, x2: 150, y1: 9, y2: 21 }),
    z === null ? null : svg("line", { class: "s-now", x1: onScale(z), x2: onScale(z), y1: 5, y2: 25 }),
    svg("text", { x: 150, y: 40, "text-anchor": "middle" }, "0"),
    svg("text", { x: 10, y: 40 }, `−${SCALE}`),
    svg("text", { x: 290, y: 40, "text-anchor": "end" }, `+${SCALE}`),
  );

const OUTLOOK = {
  explore_won: ["As it stands, ", html("b", { class: "in-explore" }, "explore"), " would become current."],
  current_won: ["As it stands, explore would be reset to ", html("b", { class: "in-current" }, "current"), "."],
  undecided: ["As it stands, nothing would change."],
};

const outlook = (duel, settings) => {
  if (duel.impressions === 0) return ["No list has been settled in this duel yet: a list settles when its feedback window ends."];
  const when = settings.duel_window === null ? "Readers decide at every minor update. " : duel.needed > 0 ? `${plural(duel.needed, "settled list")} more, then readers decide. ` : "The window is full: readers decide at the next minor update. ";
  if (duel.harm >= 1) return ["Readers have proven that explore harms: it is reset at the next minor update, whatever the window says."];
  return [when, ...OUTLOOK[duel.forecast].map((part) => (typeof part === "string" ? part : part.cloneNode(true)))];
};

const tally = (label, value, colour) => html("div", {}, html("b", { class: colour }, count(value)), html("span", {}, label));

export const liveDuel = (data) => {
  const { duel, settings, now } = data;
  if (duel === null) {
    show(at("duel-opened"));
    show(at("duel"), html("p", { class: "empty" }, "No duel is running yet."));
    return;
  }
  const { duel_window: window, duel_loss_z: lossZ } = settings;
  show(at("duel-opened"), `opened by version ${duel.id}, ${ago(duel.opened, now)}`);
  const waiting = duel.waiting > 0 ? `${count(duel.waiting)} more wait to settle` : "";
  const settled = window === null ? plural(duel.impressions, "list") + " settled" : `${count(duel.impressions)} of ${count(window)} lists settled`;
  show(
    at("duel"),
    html(
      "div",
      { class: "duel" },
      html("div", { class: "tally" }, tally("current wins", duel.losses, "in-current"), tally("ties", duel.ties, "ties"), tally("explore wins", duel.wins, "in-explore")),
      html("figure", {}, progress(duel.impressions, window ?? duel.impressions), html("figcaption", {}, html("span", {}, settled), html("span", {}, waiting))),
      html("figure", {}, zAxis(duel.z, lossZ), html("figcaption", {}, html("span", {}, `z ${signed(duel.z)}`), html("span", {}, lossZ === null ? "" : `reset below ${signed(lossZ, 1)}`))),
      html("p", { class: "verdict" }, ...outlook(duel, settings), data.fault ? "" : " Its lists gave both networks equal chances."),
    ),
  );
};

const REACH = 300; // half the width of the scale of differences, which is drawn from −reach to +reach

/** The difference and its bounds on a scale that just holds them, with 0 in the middle. */
const interval = ({ difference, low, high }) => {
  const most = Math.max(Math.abs(low), Math.abs(high), 1e-9);
  const place = (value) => REACH + (0.96 * REACH * value) / most;
  return svg(
    "svg",
    { viewBox: `0 0 ${2 * REACH} 26`, "aria-hidden": "true" },
    svg("line", { class: "s-axis", x1: 0, x2: 2 * REACH, y1: 13, y2: 13 }),
    svg("rect", { class: "s-soft", x: place(low), y: 9, width: place(high) - place(low), height: 8, rx: 4 }),
    svg("line", { class: "s-axis", x1: REACH, x2: REACH, y1: 2, y2: 24 }),
    svg("line", { class: "s-now", x1: place(difference), x2: place(difference), y1: 4, y2: 22 }),
  );
};

const finding = ({ low, high, harm, reference }) => {
  if (harm >= 1) return `Readers have proven current worse: version ${reference} is brought back at the next minor update.`;
  if (low > 0) return "Current is better than what it is held against, however often one looks.";
  if (high < 0) return `Current looks worse. It is rolled back by itself once that is proven; ${percent(harm, 0)} of the evidence is there.`;
  return "No difference is established. Were current proven worse, it would be rolled back by itself.";
};

export const holdback = (data) => {
  const { holdback: held, now } = data;
  hide("holdback-card", held === null);
  if (held === null) return;
  const { reference, lists, clicked, difference, low, high, level, share } = held;
  show(at("holdback-readout"), reference === null ? "" : `current against version ${reference}, for ${duration(Math.max(1, now - held.since))}`);
  if (reference === null) {
    show(at("holdback"), html("p", { class: "empty" }, `From the end of the first period on, ${percent(share, 0)} of the lists are not explored, and a frozen version answers half of these.`));
    return;
  }
  const half = (name, words) => html("div", {}, html("b", {}, percent(clicked[name])), html("span", {}, `of ${plural(lists[name], "list")} ${words} got a click`));
  show(
    at("holdback"),
    html("div", { class: "halves" }, half("current", "by current alone"), half("reference", `by version ${reference}`)),
    html(
      "div",
      {},
      difference === null
        ? html("p", { class: "foot" }, "No list that was held back has been settled yet.")
        : [interval(held), html("p", { class: "foot" }, `Difference ${signed(100 * difference, 1)} points, from ${signed(100 * low, 1)} to ${signed(100 * high, 1)} with ${percent(level, 0)}, valid while you watch. ${finding(held)}`)],
    ),
  );
};

const articleRow = (row, most, down) =>
  html(
    "li",
    { class: down && "down" },
    html("div", { class: "title", title: row.title }, row.title, html("span", { class: "of" }, [row.category, `shown ${count(row.shown)} times`, row.pinned ? "pinned" : null].filter(Boolean).join(" · "))),
    html("div", { class: "bar" }, svg("svg", { viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" }, svg("rect", { class: "s-track", width: 100, height: 6, rx: 3 }), svg("rect", { class: "s-soft", width: (100 * row.shown) / most, height: 6, rx: 3 }))),
    html("span", { class: "rate", title: `${plural(row.clicks, "click")} so far` }, percent(row.clicks / row.shown, 0)),
    html("span", { class: "act" }, down ? "taken down" : takeDownButton(row.id, row.title)),
  );

/** `isDown`: whether an article was taken down a moment ago, which the figures may not know yet. */
export const articles = (data, isDown) => {
  const rows = data.articles;
  hide("articles-empty", rows.length > 0);
  show(at("articles-empty"), "No list has been served yet.");
  show(at("shown-readout"), rows.length > 0 ? `most shown in the newest ${plural(data.recent, "list")}` : "");
  const most = Math.max(1, ...rows.map((row) => row.shown));
  const drawn = rows.map((row) => articleRow(row, most, row.withdrawn || isDown(row.id)));
  keepingFocus(at("articles"), () => show(at("articles"), drawn));
};

export const returns = (data) => {
  if (data.returns.length < 2) {
    show(at("returns"));
    return;
  }
  show(
    at("returns"),
    html("h3", {}, "Readers who came back the next day"),
    html(
      "ol",
      { class: "days" },
      data.returns.map((row) =>
        html(
          "li",
          {},
          html("b", {}, percent(row.returned / row.readers, 0)),
          svg("svg", { viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true" }, svg("rect", { class: "s-track", width: 100, height: 4 }), svg("rect", { class: "s-soft", width: 100 * share(row.returned, row.readers), height: 4 })),
          html("span", { title: plural(row.readers, "reader") }, row.complete ? day(row.day) : "so far"),
        ),
      ),
    ),
  );
};

const JOBS = { minor_update: "Minor update", major_retrain: "Major update", rollback: "Rollback", guard: "Guard" };

/** Skipped and failed runs of one job for one reason that follow each other become one row; a guard with nothing to say has none. */
const folded = (runs) => {
  const rows = [];
  for (const run of runs) {
    const last = rows.at(-1);
    if (run.job === "guard" && run.outcome === "done") continue; // one beside every minor update: the hold-back's card shows what it saw
    if (last && ["skipped", "failed"].includes(run.outcome) && last.outcome === run.outcome && last.job === run.job && last.reason === run.reason) last.times += 1;
    else rows.push({ ...run, times: 1 });
  }
  return rows;
};

const detail = (run) => {
  if (run.reason) return run.reason;
  return run.version ? `made version ${run.version}` : "";
};

const jobRow = (run, now) =>
  html(
    "tr",
    {},
    html("td", { class: "job" }, JOBS[run.job] ?? run.job.replaceAll("_", " ")),
    html("td", {}, html("time", { datetime: iso(run.started), title: iso(run.started) }, now - run.started > 86_400 ? moment(run.started, Infinity) : time(run.started))),
    html("td", { class: "number" }, run.ended === null ? "" : duration(run.ended - run.started)),
    html("td", {}, html("span", { class: `outcome ${run.outcome}` }, run.times > 1 ? `${run.outcome} × ${run.times}` : run.outcome)),
    html("td", {}, detail(run)),
  );

export const jobs = (data) => {
  const { settings } = data;
  hide("jobs", data.jobs.length === 0);
  hide("jobs-empty", data.jobs.length > 0);
  show(at("jobs-empty"), "No job has run yet. Is the learner running? python -m jobs schedule");
  show(at("jobs-readout"), `minor updates every ${duration(settings.minor_period)}, major ones every ${duration(settings.major_period)}`);
  show(at("jobs").tBodies[0], folded(data.jobs).slice(0, 12).map((run) => jobRow(run, data.now)));
};

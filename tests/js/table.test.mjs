// node --test tests/js
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  barBoxes,
  barNames,
  chartCaption,
  columnsFor,
  findingText,
} from "../../widgets/etabli_widgets/static/column_heads.js";
import {
  inView,
  placeAfter,
} from "../../widgets/etabli_widgets/static/row_list.js";
import {
  isInside,
  thinned,
} from "../../widgets/etabli_widgets/static/row_map.js";
import {
  isMarked,
  joinWishes,
  setMark,
  unpackBits,
} from "../../widgets/etabli_widgets/static/row_marks.js";

test("bits that are set come back, and no others", () => {
  for (let round = 0; round < 50; round++) {
    const count = 1 + Math.floor(Math.random() * 200);
    const rows = new Set(
      Array.from({ length: 20 }, () => Math.floor(Math.random() * count)),
    );
    const bits = unpackBits("", count);
    rows.forEach((row) => setMark(bits, row, true));
    const packed = btoa(String.fromCharCode(...bits));
    const again = unpackBits(packed, count);
    for (let row = 0; row < count; row++)
      assert.equal(isMarked(again, row), rows.has(row));
    rows.forEach((row) => setMark(again, row, false));
    assert.ok(again.every((byte) => byte === 0));
  }
});

test("wishes that are joined do what they would have done one after the other", () => {
  const apply = (marked, { do: how, start = 0, stop = 0, rows = [] }) => {
    const chosen = [
      ...rows,
      ...Array.from({ length: stop - start }, (_, at) => start + at),
    ];
    if (how === "replace") return new Set(chosen);
    const after = new Set(marked);
    for (const row of chosen)
      how === "add" ? after.add(row) : after.delete(row);
    return after;
  };
  const some = () => Math.floor(Math.random() * 10);
  const wish = () => {
    const how = ["replace", "add", "remove"][Math.floor(Math.random() * 3)];
    return Math.random() < 0.5
      ? { do: how, rows: [some(), some()] }
      : { do: how, start: 2, stop: 2 + some() };
  };
  for (let round = 0; round < 500; round++) {
    let [atOnce, sent, waiting] = [new Set([1, 5]), new Set([1, 5]), null];
    for (let step = 0; step < 6; step++) {
      const next = wish();
      atOnce = apply(atOnce, next);
      const joined = joinWishes(waiting, next);
      if (!joined) sent = apply(sent, waiting);
      waiting = joined ?? next;
    }
    assert.deepEqual([...apply(sent, waiting)].sort(), [...atOnce].sort());
  }
});

test("a point is inside of a polygon as of the sum of angles around it", () => {
  for (let round = 0; round < 300; round++) {
    const corners = Array.from(
      { length: 3 + Math.floor(Math.random() * 9) },
      (_, at, all) => {
        const angle = (2 * Math.PI * (at + Math.random() * 0.8)) / 12;
        const far = 2 + Math.random() * 8;
        return [far * Math.cos(angle), far * Math.sin(angle)];
      },
    );
    const point = [Math.random() * 20 - 10, Math.random() * 20 - 10];
    const angles = corners.map(([x, y]) =>
      Math.atan2(y - point[1], x - point[0]),
    );
    const turns = angles.map((angle, at) => {
      const turn = angles[(at + 1) % angles.length] - angle;
      return turn - 2 * Math.PI * Math.round(turn / (2 * Math.PI));
    });
    const winding = Math.round(
      turns.reduce((sum, turn) => sum + turn, 0) / (2 * Math.PI),
    );
    assert.equal(isInside(point, corners), winding !== 0);
  }
  assert.ok(thinned(Array.from({ length: 9999 }, () => [0, 0])).length <= 240);
});

test("bars fill the width, and what is there is seen", () => {
  const chart = {
    kind: "categories",
    labels: ["a", "b"],
    edges: [],
    counts: [99999, 1],
    shown: [1, 0],
  };
  const boxes = barBoxes(chart);
  assert.ok(
    Math.abs(boxes.reduce((sum, { width }) => sum + width, 0) - 100) < 1e-9,
  );
  assert.ok(boxes[0].part > 0 && boxes[1].part === 0);
  assert.equal(barNames(chart)[0], "a: 99,999 rows, 1 of them shown");
  const lengths = {
    kind: "lengths",
    labels: [],
    edges: [3, 10, 33600],
    counts: [9, 0],
    shown: [9, 0],
  };
  assert.equal(chartCaption(lengths), "3 – 33,600 chars");
  const single = { ...lengths, edges: [1, 1], counts: [1], shown: [1] };
  assert.equal(chartCaption(single), "1 char");
  assert.equal(chartCaption({ ...single, kind: "numbers" }), "1");
  assert.deepEqual(barNames(single), ["1 character: 1 row"]);
  assert.deepEqual(barNames({ ...single, edges: [0, 1] }), [
    "0 to 1 character: 1 row",
  ]);
  assert.deepEqual(
    barBoxes(lengths).map(({ height }) => height),
    [1, 0],
  );
  assert.equal(chartCaption({ ...chart, counts: [0, 0] }), "");
  assert.deepEqual(
    barBoxes({ ...chart, labels: [], counts: [], shown: [] }),
    [],
  );
});

test("question and answer get more than half of a list, and no finding or status is lost", () => {
  for (let width = 300; width < 1600; width += 10) {
    const columns = columnsFor(width);
    const names = columns.map(({ name }) => name);
    const taken = columns.reduce(
      (sum, { width: size = 0 }) => sum + size + 8,
      36,
    );
    assert.ok(width - taken > width / 2 - 20, `${width}: ${names}`);
    assert.ok(
      ["finding", "question", "answer"].every((name) => names.includes(name)),
    );
  }
  assert.equal(columnsFor(0).length, columnsFor(2000).length);
  assert.equal(
    findingText({ status: "rejected", found: ["near", "exact"] }, false),
    "rejected: near, exact",
  );
  assert.equal(
    findingText({ status: "rejected", found: ["near"] }, true),
    "near",
  );
  assert.equal(
    findingText({ status: "stays", found: ["near"] }, false),
    "near",
  );
  assert.equal(findingText({ status: "kept", found: [] }, false), "kept");
});

test("the lines in view are drawn, and keys lead to places", () => {
  for (let found = 0; found < 300; found += 7) {
    const [first, last] = inView(900, 400, found);
    assert.ok(first >= 0 && last <= found && first <= last);
    for (let place = 30; place < Math.min(found, 43); place++)
      assert.ok(first <= place && place < last);
  }
  assert.equal(placeAfter("PageDown", 5, 10), 15);
  assert.equal(placeAfter("Home", 5, 10), 0);
  assert.equal(placeAfter("x", 5, 10), null);
});

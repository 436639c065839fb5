// node --test tests/js
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  axisEnd,
  clock,
  logTicks,
  lonePoints,
  nearest,
  path,
  short,
  significant,
  ticks,
} from "../../widgets/etabli_widgets/static/chart.js";

test("ticks begin at 0, are round, and cover the top", () => {
  for (let i = 0; i < 500; i++) {
    const top = 10 ** (Math.random() * 8 - 4);
    const found = ticks(top);
    const step = found[1];
    assert.equal(found[0], 0);
    assert.ok(found.length >= 2 && found.length <= 9, `${top}: ${found}`);
    assert.ok(
      found.at(-1) <= top * (1 + 1e-6) &&
        found.at(-1) + step > top * (1 - 1e-6),
      `${top}: ${found}`,
    );
    assert.match(step.toExponential(), /^[125]e/);
  }
  assert.deepEqual(ticks(0), [0]);
  assert.deepEqual(ticks(NaN), [0]);
});

test("a missing value breaks the line", () => {
  const same = (v) => v;
  assert.equal(
    path(
      [
        [0, 1],
        [1, 2],
        [2, null],
        [3, 4],
      ],
      same,
      same,
    ),
    "M0.0,1.0L1.0,2.0M3.0,4.0",
  );
  assert.equal(path([], same, same), "");
});

test("clock", () => {
  assert.equal(clock(0), "0:00");
  assert.equal(clock(59.6), "1:00");
  assert.equal(clock(3671), "1:01:11");
  assert.equal(clock(-5), "0:00");
});

test("logarithmic ticks lie between both ends, few enough to read", () => {
  for (let i = 0; i < 500; i++) {
    const low = 10 ** (Math.random() * 8 - 6);
    const high = low * 10 ** (Math.random() * 4);
    const found = logTicks(low, high);
    assert.ok(
      found.length >= 1 && found.length <= 8,
      `${low} ${high}: ${found}`,
    );
    for (const tick of found)
      assert.ok(
        tick >= low * 0.99 && tick <= high * 1.01,
        `${low} ${high}: ${found}`,
      );
  }
});

test("the reader's line reads the last value at or before a step", () => {
  const points = [
    [0, 4],
    [10, null],
    [20, 2],
  ];
  assert.deepEqual(nearest(points, 15), [0, 4]);
  assert.deepEqual(nearest(points, 20), [20, 2]);
  assert.equal(nearest(points, -1), null);
});

test("labels are short", () => {
  assert.deepEqual([0, 0.2, 4, 0.00002, 1234.5].map(short), [
    "0",
    "0.2",
    "4",
    "2e-5",
    "1230",
  ]);
});

test("values have three significant digits, however small they are", () => {
  const values = [
    0, 2e-4, 5.714e-4, 0.002, 0.6413, 4.27304, 281, 1234.5, 2.5e6,
  ];
  const texts = [
    "0",
    "2.00e-4",
    "5.71e-4",
    "0.00200",
    "0.641",
    "4.27",
    "281",
    "1235",
    "2.50e+6",
  ];
  assert.deepEqual(values.map(significant), texts);
  for (let i = 0; i < 500; i++) {
    const value = 10 ** (Math.random() * 16 - 9);
    assert.ok(
      Math.abs(Number(significant(value)) / value - 1) <= 0.005 + 1e-9,
      `${value}: ${significant(value)}`,
    );
    assert.ok(significant(value).length <= 8);
  }
});

test("the axis holds the newest step, leaves at most half of it empty, and ends with the run", () => {
  for (let step = 0; step <= 400; step++) {
    const end = axisEnd(step, 400);
    assert.ok(
      end >= step && end <= 400 && end <= Math.max(8, 2 * step),
      `${step}: ${end}`,
    );
    assert.ok(axisEnd(step + 1, 400) >= end);
  }
  assert.deepEqual(
    [axisEnd(1, 2), axisEnd(400, 400), axisEnd(9, 0), axisEnd(12, 8)],
    [2, 400, 16, 12],
  );
});

test("points without a neighbour are the ones no line would show", () => {
  const points = [
    [1, 4],
    [2, null],
    [3, 2],
    [4, 3],
    [5, null],
    [6, 1],
  ];
  assert.deepEqual(lonePoints(points), [
    [1, 4],
    [6, 1],
  ]);
  assert.deepEqual(lonePoints([[1, 4]]), [[1, 4]]);
});

// The scripts that are joined in front of a widget's own are visible to it: for `tsc` they are globals.
/** The classes of the widget's root element; written by `script` of _base.py. */
declare function widget(render: (context: any) => any): { render(context: any): any };
declare const ROOT: string[];
/** What terms mean: glossary.json. */
declare const GLOSSARY: Record<string, string>;
declare function term(name: string): Node | string;
declare const ticks: typeof import("./chart.js").ticks;
declare const logTicks: typeof import("./chart.js").logTicks;
declare const short: typeof import("./chart.js").short;
declare const nearest: typeof import("./chart.js").nearest;
declare const MEAN: typeof import("./loss_chart.js").MEAN;
declare const lossChart: typeof import("./loss_chart.js").lossChart;
declare const svg: typeof import("./chart.js").svg;
declare const path: typeof import("./chart.js").path;
declare const smooth: typeof import("./chart.js").smooth;
declare const clock: typeof import("./chart.js").clock;
declare const shadeOf: typeof import("./moved.js").shadeOf;
declare const seen: typeof import("./moved.js").seen;
declare const ledTo: typeof import("./moved.js").ledTo;
declare const nextLargest: typeof import("./moved.js").nextLargest;
declare const wordDifference: typeof import("./difference.js").wordDifference;
declare function marked(pieces: [string, string][]): HTMLPreElement;
declare function strip(tokens: string[], values: (number | null)[], options: Record<string, any>): HTMLPreElement;
declare const unpackBits: typeof import("./row_marks.js").unpackBits;
declare const isMarked: typeof import("./row_marks.js").isMarked;
declare function rowMarks(model: any, lines: Map<number, any>, redraw: () => void): Record<string, any>;
declare const COLUMNS: typeof import("./column_heads.js").COLUMNS;
declare const findingText: typeof import("./column_heads.js").findingText;
declare const grouped: typeof import("./column_heads.js").grouped;
declare function columnHeads(parts: Record<string, any>): Record<string, any>;
declare const placeAfter: typeof import("./row_list.js").placeAfter;
declare function rowList(parts: Record<string, any>): Record<string, any>;
declare function rowDetail(parts: Record<string, any>): Record<string, any>;
declare function rowMap(parts: Record<string, any>): Record<string, any>;
declare function tableFilters(parts: Record<string, any>): Record<string, any>;

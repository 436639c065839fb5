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

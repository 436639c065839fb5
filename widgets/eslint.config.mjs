// What no script of ours may use: whatever makes markup, code or a request of a text. By syntax, not by words:
// `npm run sinks`; tests/test_sinks.py plants each and sees it found.

const HTML = "innerHTML|outerHTML|insertAdjacentHTML|setHTML|setHTMLUnsafe|parseHTMLUnsafe|createContextualFragment";
const CODE = "parseFromString|eval|Function|DOMParser|execCommand|constructor";
const LINKS = "href|src|srcset|srcdoc|action|formAction|formaction|poster|ping|background|cssText|insertRule";
const NETWORK = "fetch|XMLHttpRequest|WebSocket|EventSource|Worker|SharedWorker|importScripts|sendBeacon|Image|Audio";
const NAMES = `/^(${[HTML, CODE, LINKS, NETWORK].join("|")}|xlink:href)$/`;
const ATTRIBUTES = "/^(on.*|style|data|xlink:.*|" + LINKS + ")$/i";
const TAGS = "/^(script|style|iframe|frame|object|embed|link|base|meta|img|video|audio|source|use|image|a)$/i";
const FUNCTIONS = ":not(ArrowFunctionExpression, FunctionExpression).arguments:first-child";
const WINDOWS = "/^(window|document|globalThis|self)$/";
const SET = "CallExpression[callee.property.name=/^(set|toggle)Attribute$/]";
const MAKE = "CallExpression[callee.name=/^(make|svg)$/]";

const sinks = {
  "Text becomes markup, code, an address or a request": [
    `MemberExpression[computed=false] > Identifier.property[name=${NAMES}]`,
    `MemberExpression > Literal.property[value=${NAMES}]`,
    `MemberExpression > TemplateLiteral.property`,
    `Property > Identifier.key[name=${NAMES}]`,
    `Property > Literal.key[value=${NAMES}]`,
    `:matches(NewExpression, CallExpression) > Identifier.callee[name=/^(${CODE}|${NETWORK})$/]`,
    "ImportExpression, ImportDeclaration, ExportAllDeclaration, ExportNamedDeclaration[source]",
    `MemberExpression[object.name="document"][property.name=/^(write|writeln|cookie|domain)$/]`,
    `MemberExpression[computed=true][object.name=${WINDOWS}]`,
    `:matches(MemberExpression[object.name=${WINDOWS}], AssignmentExpression) > Identifier[name=/^(location|open)$/]`,
    `MemberExpression[object.name="location"]`,
  ],
  "A timer takes a function written here": [`CallExpression[callee.name=/^set(Timeout|Interval)$/] > ${FUNCTIONS}`],
  "An element that loads or runs something": [
    `CallExpression[callee.property.name=/^createElement(NS)?$/] > Literal.arguments[value=${TAGS}]`,
    `${MAKE} > Literal.arguments:first-child[value=${TAGS}]`,
  ],
  "An attribute is named here, and is none that runs or loads something": [
    `${SET} > Literal.arguments:first-child[value=${ATTRIBUTES}]`,
    `${SET} > :not(Literal).arguments:first-child`,
    "CallExpression[callee.property.name=/^(setAttributeNS|setAttributeNode|createAttribute)$/]",
    `CallExpression[callee.name="svg"] > ObjectExpression > Property > .key[name=${ATTRIBUTES}]`,
    `CallExpression[callee.name="svg"] > ObjectExpression > Property > .key[value=${ATTRIBUTES}]`,
  ],
  "Which properties are set is written here": [
    `${MAKE} > :not(ObjectExpression, ConditionalExpression).arguments:nth-child(2)`,
    `${MAKE} > ObjectExpression > Property[computed=true]`,
    `${MAKE} > ObjectExpression > SpreadElement > :not(Identifier[name="props"])`,
    `CallExpression[callee.object.name="Object"][callee.property.name="assign"] > :not(ObjectExpression, :first-child).arguments`,
    'AssignmentExpression > MemberExpression.left[computed=true]:not([property.type="Literal"], [property.operator=">>"])',
  ],
};

const rules = Object.entries(sinks).flatMap(([message, selectors]) =>
  selectors.map((selector) => ({ selector, message })),
);

export default [
  {
    languageOptions: { ecmaVersion: 2024, sourceType: "module" },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "no-restricted-syntax": ["error", ...rules],
      "no-eval": "error",
      "no-restricted-globals": ["error", "open", "location"],
    },
  },
];

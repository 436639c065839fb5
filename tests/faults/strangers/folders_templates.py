"""Chat templates that cost time and memory, or want to be run."""

from pathlib import Path

from strangers.folders import edit_json, hostile

_TEMPLATES = {
    "nested loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}x{% endfor %}"
    "{% endfor %}{% endfor %}",
    "a huge text": "{{ 'a' * 10**10 }}",
    "a huge power": "{{ 10 ** 10 ** 10 }}",
    "a wide format": "{{ '%099999999999d' % 1 }}{{ 'x'.ljust(10**10) }}{{ '{:>9999999999}'.format(1) }}",
    "a huge range": "{{ range(10**10) | list | length }}",
    "a macro that calls itself": "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "a loop only where a word stands": "{% for m in messages %}{% if 'a' in m.content %}{% for a in range(99999) %}"
    "{% for b in range(99999) %}{{ b }}{% endfor %}{% endfor %}{% endif %}{{ m.content }}{% endfor %}",
    "doubling": "{% set ns = namespace(x='ab') %}{% for i in range(60) %}"
    "{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
    "doubling lists": "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "a slow pattern": "{{ ('a' * 99999) | replace('a', 'b' * 99999) | length }}{{ ('x ' * 999999) | wordwrap(1) }}",
    "a file outside": "{% include '{outside}/secret.txt' %}",
    "classes": "{{ ''.__class__.__mro__[1].__subclasses__() }}{{ messages.__class__.__base__ }}",
    "a command": "{{ cycler.__init__.__globals__.os.system('touch {mark}') }}",
    "a command by filters": "{{ (messages|attr('__class__')|attr('__init__')|attr('__globals__'))"
    ".os.system('touch {mark}') }}",
    "a command by format": "{{ '{0.__class__.__init__.__globals__}'.format(strftime_now) }}"
    "{{ raise_exception.__globals__ }}",
}


def _template(name: str, text: str) -> None:
    @hostile(f"a chat template with {name}", "data tokens", "data check --model")
    def spoil(folder: Path) -> None:
        mark, outside = str(folder / "marks" / "template"), str(folder / "outside")
        said = text.replace("{mark}", mark).replace("{outside}", outside)
        model = folder / "home" / "model"
        (model / "chat_template.jinja").write_text(said)
        edit_json(model / "tokenizer_config.json", chat_template=said)


for _name, _text in _TEMPLATES.items():
    _template(_name, _text)

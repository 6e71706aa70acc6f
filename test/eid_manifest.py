"""Prints the documents of a YAML file as Erlang terms: maps with binaries as keys, binaries, integers, booleans, lists."""
import sys

import yaml


def text(value):
    return '<<"%s"/utf8>>' % "".join(c if c.isalnum() and c.isascii() else "\\x{%x}" % ord(c) for c in value)


def term(value):
    if isinstance(value, dict):
        return "#{" + ", ".join(text(str(k)) + " => " + term(v) for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(term, value)) + "]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return text(str(value))


with open(sys.argv[1], encoding="utf-8") as file:
    for document in yaml.safe_load_all(file):
        print(term(document) + ".")

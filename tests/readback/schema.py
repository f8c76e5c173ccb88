"""Validates result.json against the published schema."""

import json
import pathlib

import jsonschema

from common import Report

SCHEMA = pathlib.Path(__file__).parents[2] / "docs" / "schema" / "result.json"


def main():
    report = Report()
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    validator.check_schema(validator.schema)
    report.compared = 1
    for error in validator.iter_errors(report.result):
        report.wrong.append(f"result.json at {error.json_path}: {error.message}")
    report.finish("result.json")


main()

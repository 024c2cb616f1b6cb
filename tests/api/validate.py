"""Holds what the management API answered to the description that it gives of itself.

usage: validate.py

Standard input is a line with the description, then a line for each call: {"method", "path",
"request", "status", "answer"}; a request of null had no body. Prints what does not fit, and each
operation and status of the description that no call has shown.
"""

import json
import re
import sys

from jsonschema import Draft202012Validator


class Description:
    def __init__(self, document):
        self.document = document
        self.shown = set()

    def operation(self, method, path):
        """The path of the description that fits, and what it says of the method."""
        for template, item in self.document["paths"].items():
            pattern = re.sub(r"\{\w+\}", "[^/]*", template)
            if re.fullmatch(pattern, path.split("?")[0]) and method.lower() in item:
                return template, item[method.lower()]
        return None, None

    def faults(self, call):
        method, status = call["method"], str(call["status"])
        template, operation = self.operation(method, call["path"])
        if operation is None:
            yield from self.errors({"$ref": "#/components/schemas/Error"}, call["answer"])
            return
        responses = operation["responses"]
        self.shown.add((method.lower(), template, status if status in responses else "default"))
        response = self.resolve(responses.get(status, responses["default"]))
        yield from self.errors(self.schema(response), call["answer"])
        if call["status"] == 200 and "requestBody" in operation:
            yield from self.errors(self.schema(operation["requestBody"]), call["request"])

    def unseen(self):
        for template, item in self.document["paths"].items():
            for method in item.keys() - {"parameters"}:
                for status in item[method]["responses"].keys() - {"default"}:
                    if (method, template, status) not in self.shown:
                        yield f"{method} {template}: {status}: never seen"

    def errors(self, schema, value):
        # Where "#/components" of the references leads.
        schema = {**schema, "components": self.document["components"]}
        return (error.message for error in Draft202012Validator(schema).iter_errors(value))

    def resolve(self, value):
        if "$ref" not in value:
            return value
        found = self.document
        for name in value["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        return found

    @staticmethod
    def schema(content):
        return content["content"]["application/json"]["schema"]


def main():
    lines = [json.loads(line) for line in sys.stdin]
    description = Description(lines[0])
    faults = [
        f"{call['method']} {call['path']}: {call['status']}: {fault}"
        for call in lines[1:]
        for fault in description.faults(call)
    ]
    faults += description.unseen()
    print("\n".join(faults))
    sys.exit(1 if faults else 0)


main()

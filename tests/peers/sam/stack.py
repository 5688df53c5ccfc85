"""Templates resolved as by CloudFormation with given parameters, and the references of their values."""

import copy
import logging
import os
import re
from pathlib import Path

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parents[3]
os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
# The translator warns at its end about unsent metrics.
logging.disable(logging.WARNING)


class Stack:
    """A template as CloudFormation resolves it with these parameters: transformed, without resources whose condition is false.

    In `resources` and `outputs` conditions and parameters are resolved; references to resources stay.
    """

    def __init__(self, path, parameters, template=None):
        template = template or yaml_parse((ROOT / path).read_text())
        declared = template.get("Parameters", {})
        self.name = f"{path} with {parameters or 'defaults'}"
        self.declared = declared
        self.given = parameters
        self.parameters = {name: value.get("Default") for name, value in declared.items()} | parameters
        self.template = template
        if "Transform" in template:
            template = copy.deepcopy(template)
            for resource in template["Resources"].values():
                # As `sam package` does, unless it has run.
                code = resource.get("Properties", {}).get("CodeUri")
                if code and not str(code).startswith("s3:"):
                    resource["Properties"]["CodeUri"] = {"Bucket": "bucket", "Key": "key"}
            template = transform(template, self.parameters | {"AWS::Region": "us-east-1"}, NoManagedPolicies())
        self.transformed = template["Resources"]
        self.mappings = template.get("Mappings", {})
        self.conditions = template.get("Conditions", {})
        self.resources = self.section(template["Resources"])
        self.outputs = self.section(template.get("Outputs", {}))

    def section(self, section):
        return {name: self.resolve(body) for name, body in section.items() if self.exists(body)}

    def exists(self, body):
        return "Condition" not in body or self.holds({"Condition": body["Condition"]})

    def of_type(self, kind):
        return {name: body.get("Properties", {}) for name, body in self.resources.items() if body["Type"] == kind}

    def holds(self, condition):
        [(function, argument)] = condition.items()
        match function:
            case "Condition":
                return self.holds(self.conditions[argument])
            case "Fn::Equals":
                return self.value(argument[0]) == self.value(argument[1])
            case "Fn::Not":
                return not self.holds(argument[0])
            case "Fn::And":
                return all(self.holds(each) for each in argument)
            case "Fn::Or":
                return any(self.holds(each) for each in argument)
            case "Fn::Contains":
                return self.value(argument[1]) in argument[0]
        raise ValueError(f"{function} is not a condition")

    def value(self, value):
        return self.resolve(value)

    def resolve(self, value):
        if isinstance(value, list):
            return [each for each in map(self.resolve, value) if each is not None]
        if not isinstance(value, dict):
            return value
        if list(value) == ["Fn::If"]:
            condition, yes, no = value["Fn::If"]
            return self.resolve(yes if self.holds({"Condition": condition}) else no)
        if list(value) == ["Ref"]:
            return None if value["Ref"] == "AWS::NoValue" else self.parameter(value["Ref"], value)
        if list(value) == ["Fn::FindInMap"]:
            # Parameters may be numbers; the keys of a mapping are text.
            first, second, third = (str(self.resolve(each)) for each in value["Fn::FindInMap"])
            return self.mappings[first][second][third]
        if list(value) == ["Fn::Select"]:
            index, items = (self.resolve(each) for each in value["Fn::Select"])
            return items[int(index)] if isinstance(items, list) else {"Fn::Select": [index, items]}
        if list(value) == ["Fn::Split"]:
            separator, text = value["Fn::Split"]
            text = self.resolve(text)
            return text.split(separator) if isinstance(text, str) else {"Fn::Split": [separator, text]}
        resolved = {key: self.resolve(each) for key, each in value.items()}
        return {key: each for key, each in resolved.items() if each is not None}

    def parameter(self, name, otherwise):
        value = self.parameters.get(name, otherwise)
        is_list = self.declared.get(name, {}).get("Type") == "CommaDelimitedList"
        return value.split(",") if is_list and isinstance(value, str) else value

    def text(self, value):
        """Returns a resolved value as text. A value that only AWS can resolve is `<Name>` or `<Name.Attribute>`."""
        if not isinstance(value, dict):
            return str(value)
        [(function, argument)] = value.items()
        match function:
            case "Ref":
                return f"<{argument}>"
            case "Fn::GetAtt":
                return f"<{argument if isinstance(argument, str) else '.'.join(argument)}>"
            case "Fn::Select":
                return f"<{self.text(argument[1])[1:-1]}[{argument[0]}]>"
            case "Fn::Join":
                return argument[0].join(map(self.text, argument[1]))
            case "Fn::Sub":
                text, own = argument if isinstance(argument, list) else (argument, {})

                def put_in(found):
                    name = found[1]
                    return self.text(self.resolve(own[name])) if name in own else str(self.parameters.get(name, f"<{name}>"))

                return re.sub(r"\$\{([^!}][^}]*)\}", put_in, text)
        raise ValueError(f"{function} is not a text function")

    def named(self, text):
        """Returns the resource and the attribute of `text`, if it is a single reference."""
        found = re.fullmatch(r"<([^.<>]+)(?:\.([^<>]+))?>", text)
        return (found[1], found[2]) if found else (None, None)


class NoManagedPolicies:
    def load(self):
        return {}


def nested(stack, name):
    """Returns the nested stack of this name with its parameters."""
    properties = stack.resources[name]["Properties"]
    given = {parameter: argument(stack, value) for parameter, value in properties["Parameters"].items()}
    inner = Stack(properties["TemplateURL"], given)
    inner.name = f"{name} in {stack.name}"
    return inner


def argument(stack, value):
    """Returns a parameter of a nested stack as text, which may be an output of another nested stack."""
    if isinstance(value, dict) and list(value) == ["Fn::GetAtt"]:
        name, attribute = value["Fn::GetAtt"] if isinstance(value["Fn::GetAtt"], list) else value["Fn::GetAtt"].split(".", 1)
        if attribute.startswith("Outputs."):
            inner = nested(stack, name)
            return inner.text(inner.outputs[attribute.removeprefix("Outputs.")]["Value"])
    return stack.text(value)


def queues(stack):
    """Returns the nested stacks that are queues, by their names in the contract."""
    found = [nested(stack, name) for name, each in stack.of_type("AWS::CloudFormation::Stack").items() if each["TemplateURL"] == "infra/queue.yaml"]
    return {each.parameters["Name"]: each for each in found}


def references(value):
    """Yields the names that a value refers to, each with an attribute or None."""
    if isinstance(value, list):
        for each in value:
            yield from references(each)
    if isinstance(value, dict):
        for key, each in value.items():
            if key == "Ref":
                yield each, None
            elif key == "Fn::GetAtt":
                name, attribute = each if isinstance(each, list) else each.split(".", 1)
                yield name, attribute
            elif key == "Fn::Sub":
                text, own = each if isinstance(each, list) else (each, {})
                for name in re.findall(r"\$\{([^!}][^}]*)\}", text):
                    if name not in own:
                        yield name.split(".", 1)[0], (name.split(".", 1) + [None])[1]
                yield from references(own)
            else:
                yield from references(each)


def depends(body):
    """Returns the resources that a resource depends on."""
    explicit = body.get("DependsOn", [])
    return {name for name, _ in references(body)} | ({explicit} if isinstance(explicit, str) else set(explicit))


def circle(stack):
    """Returns the resources of a circular dependency, which CloudFormation refuses."""
    waiting = {name: depends(body) & stack.resources.keys() for name, body in stack.resources.items()}
    while free := [name for name, others in waiting.items() if not others & waiting.keys()]:
        for name in free:
            del waiting[name]
    return sorted(waiting)


def laid_over(template, part):
    """Returns the template with a part merged into it: mappings are merged, other values replaced."""
    if not (isinstance(template, dict) and isinstance(part, dict)):
        return copy.deepcopy(part)
    merged = dict(template)
    for key, value in part.items():
        merged[key] = laid_over(template[key], value) if key in template else copy.deepcopy(value)
    return merged


def read(path):
    return yaml_parse((ROOT / path).read_text())


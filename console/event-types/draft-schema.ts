import { isObject } from '../ui/json-text.ts';

const MAX_DEPTH = 8;
/** With more members, the names of an object count as data, such as the ids of a map, and are not part of the schema. */
const MAX_PROPERTIES = 100;
/** Maximum items of an array that are examined. */
const MAX_ITEMS = 100;

type Schema = Readonly<Record<string, unknown>>;

/** A JSON Schema that each of the examples matches: the types of all members, and as required those that each of them has. */
export function draftSchema(examples: readonly unknown[], depth = 0): Schema {
  const types = [...new Set(examples.map(typeOf))].sort();
  // If some numbers are not integers, `number` replaces `integer`.
  const named = types.includes('number') ? types.filter((type) => type !== 'integer') : types;
  if (depth === MAX_DEPTH || named.length === 0) return {};
  return {
    type: named.length === 1 ? named[0] : named,
    ...ofObjects(examples.filter(isObject), depth),
    ...ofArrays(examples.filter(Array.isArray), depth),
  };
}

function ofObjects(objects: readonly Schema[], depth: number): Schema {
  const names = [...new Set(objects.flatMap((object) => Object.keys(object)))];
  if (names.length === 0 || names.length > MAX_PROPERTIES) return {};
  const having = (name: string) => objects.filter((object) => Object.hasOwn(object, name));
  const required = names.filter((name) => having(name).length === objects.length);
  const properties = names.map((name) => {
    const values = having(name).map((object) => object[name]);
    return [name, draftSchema(values, depth + 1)] as const;
  });
  // fromEntries defines the members, so that none is the prototype.
  return { ...(required.length > 0 && { required }), properties: Object.fromEntries(properties) };
}

function ofArrays(arrays: readonly (readonly unknown[])[], depth: number): Schema {
  const items = arrays.flatMap((array) => array.slice(0, MAX_ITEMS));
  return items.length === 0 ? {} : { items: draftSchema(items, depth + 1) };
}

/** The type as JSON Schema names it. */
function typeOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  return Number.isInteger(value) ? 'integer' : typeof value;
}

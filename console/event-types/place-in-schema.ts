/**
 * The place in a JSON Schema, as JsonView names it, of the rule for a path in the data: `data.user.age` belongs to
 * `properties.user.properties.age`. A rule behind `$ref`, `oneOf` or another such keyword is not searched: the place is then that of
 * the schema with the keyword. The empty place is the schema as a whole.
 */
export function placeInSchema(schema: unknown, path: string): string {
  const place: string[] = [];
  let rule = schema;
  for (const name of path.split('.').slice(1)) {
    const step = stepsTo(name).find((keywords) => memberAt(rule, keywords) !== undefined);
    if (step === undefined) break;
    place.push(...step);
    rule = memberAt(rule, step);
  }
  return place.join('.');
}

/** The keywords that apply to a member or an element, in the precedence of JSON Schema. */
function stepsTo(name: string): readonly (readonly string[])[] {
  const ofObjects = [['properties', name], ['additionalProperties']];
  return /^\d+$/.test(name) ? [['prefixItems', name], ['items'], ...ofObjects] : ofObjects;
}

function memberAt(value: unknown, names: readonly string[]): unknown {
  let member = value;
  for (const name of names) {
    if (typeof member !== 'object' || member === null || !Object.hasOwn(member, name)) return undefined;
    // `as`: an object with this member, as checked above.
    member = (member as Record<string, unknown>)[name];
  }
  return member;
}

/** The value of a text that is JSON; that of an empty text is undefined. Undefined if the text is no JSON. */
export function parseJsonText(text: string): { readonly value: unknown } | undefined {
  if (text.trim() === '') return { value: undefined };
  try {
    return { value: JSON.parse(text) };
  } catch {
    return undefined;
  }
}

import { isObject } from '../ui/json-text.ts';

type Request = {
  readonly url: string;
  /** The headers of the delivery log, with redacted secret values. */
  readonly headers: unknown;
  readonly body: string;
};

/** Headers that curl sets itself. */
const OWN = new Set(['host', 'content-length', 'connection', 'transfer-encoding', 'accept-encoding']);

/** The request as a command for POSIX shells. Nothing in it is interpreted by the shell or by curl. */
export function curlCommand({ url, headers, body }: Request): string {
  const lines = headerLines(headers).filter(({ name }) => !OWN.has(name.toLowerCase()));
  return [
    `curl --globoff --request POST ${shellQuoted(url)}`,
    ...lines.map(({ name, value }) => `--header ${shellQuoted(`${name}: ${value}`)}`),
    // --data-raw, because --data reads a file if the body begins with @.
    `--data-raw ${shellQuoted(body)}`,
  ].join(' \\\n  ');
}

/** Single quotes keep every character; a single quote itself ends the text, is escaped, and begins it again. */
function shellQuoted(text: string): string {
  return `'${text.replaceAll('\0', '').replaceAll("'", `'\\''`)}'`;
}

export type HeaderLine = { readonly name: string; readonly value: string };

/** Headers from the JSON object of the API; a header that was sent several times has a list. */
export function headerLines(headers: unknown): readonly HeaderLine[] {
  if (!isObject(headers)) return [];
  return Object.entries(headers).flatMap(([name, value]) => {
    const values: readonly unknown[] = Array.isArray(value) ? value : [value];
    return values.map((each) => ({ name, value: String(each) }));
  });
}

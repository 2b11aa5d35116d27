/**
 * Texts of receivers and publishers can contain characters that hide or reorder others: controls, zero-width and
 * bidirectional ones. They are shown as `\u{…}`.
 */
// biome-ignore format: one line for each group
const HIDDEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb]|[\u{e0000}-\u{e0fff}]/gu;

export function visibleText(text: string): string {
  return text.replace(HIDDEN, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`);
}

/** The same on one line: tabs and line breaks are shown as well. */
export function visibleLine(text: string): string {
  return visibleText(text).replace(
    /[\t\r\n]/g,
    (character) => ({ '\t': '\\t', '\r': '\\r', '\n': '\\n' })[character] ?? '',
  );
}

/** Shortens in the middle, because ids differ at both ends. */
export function shortened(text: string, length = 15): string {
  if (text.length <= length) return text;
  const tail = Math.floor((length - 1) / 2);
  return `${text.slice(0, length - 1 - tail)}…${text.slice(text.length - tail)}`;
}

/** Host and path of a URL in two parts, the host in punycode; undefined if it is no URL. */
export function splitUrl(
  url: string,
): { readonly host: string; readonly path: string; readonly scheme: string } | undefined {
  if (!URL.canParse(url)) return undefined;
  const { host, pathname, search, protocol } = new URL(url);
  return { host, path: `${pathname}${search}`, scheme: protocol };
}

import type { AttemptDetailsFragment } from '../generated/graphql.ts';
import { messages } from '../messages.ts';
import { parseJsonText } from '../ui/json-text.ts';
import { redacted } from '../ui/redacted.ts';
import { headerLines } from './curl.ts';

type Attempt = Pick<
  AttemptDetailsFragment,
  'url' | 'requestHeaders' | 'statusCode' | 'errorMessage' | 'responseTimeMs' | 'responseHeaders' | 'responseBody'
>;

/** Request and response of an attempt as lines, for a comparison. The request body is equal in all attempts and omitted. */
export function attemptText(attempt: Attempt, hidesValues: boolean): string {
  const { statusCode, errorMessage, responseBody } = attempt;
  return [
    `POST ${attempt.url}`,
    ...linesOf(attempt.requestHeaders),
    '',
    statusCode == null ? messages.delivery.noResponse : `HTTP ${statusCode}`,
    `${attempt.responseTimeMs} ms`,
    ...(errorMessage == null ? [] : [errorMessage]),
    ...linesOf(attempt.responseHeaders),
    ...(responseBody == null || responseBody === '' ? [] : ['', bodyText(responseBody, hidesValues)]),
  ].join('\n');
}

function linesOf(headers: unknown): readonly string[] {
  return headerLines(headers).map(({ name, value }) => `${name}: ${value}`);
}

/** Indentation grows with the nesting: with the 20,000 brackets that a body can have, it would take 100 MB and more. */
const MAX_BRACKETS = 200;

/** Writes each member of an object or array on its own line, so that a changed member changes one line and not all. */
function bodyText(text: string, hidesValues: boolean): string {
  const brackets = text.match(/[[{]/g)?.length ?? 0;
  const json = brackets > 0 && brackets <= MAX_BRACKETS ? parseJsonText(text) : undefined;
  if (json !== undefined) return JSON.stringify(hidesValues ? redacted(json.value) : json.value, undefined, 2);
  return hidesValues ? messages.hiddenText(text.length) : text;
}

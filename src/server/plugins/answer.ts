import { yieldEventLoop } from '../../lib/event-loop.ts';
import { JsonText } from '../../delivery-log/event-data.ts';

/** Characters that are written in one piece. */
const PIECE = 64 * 1024;

export type AnswerSize = { readonly characters: number; readonly values: number };

/** How long an answer is as JSON, escapes aside, and how many values it has; counted to just beyond `max` characters. */
export function sizeOfAnswer(answer: unknown, max: number): AnswerSize {
  let characters = 0;
  let values = 0;
  const visit = (value: unknown): void => {
    values += 1;
    if (characters > max) return;
    if (typeof value === 'string') characters += value.length + 2;
    else if (value instanceof JsonText) characters += value.text.length;
    else if (typeof value !== 'object' || value === null) characters += 5;
    else if (Array.isArray(value)) {
      for (let index = 0; index < value.length && characters <= max; index += 1) {
        characters += 1;
        visit(value[index]);
      }
    } else {
      for (const name in value) {
        // `as`: an object, whose members are what this is about.
        characters += name.length + 4;
        visit((value as Record<string, unknown>)[name]);
        if (characters > max) return;
      }
    }
  };
  visit(answer);
  return { characters, values };
}

/** An answer as JSON, piece by piece as the client reads it, with turns of the event loop for others in between. */
export async function* writeAnswer(answer: unknown): AsyncGenerator<Uint8Array, void> {
  const encoder = new TextEncoder();
  let buffer = '';
  for (const piece of piecesOf(answer)) {
    buffer += piece;
    if (buffer.length < PIECE) continue;
    yield encoder.encode(buffer);
    buffer = '';
    await yieldEventLoop();
  }
  if (buffer !== '') yield encoder.encode(buffer);
}

function* piecesOf(value: unknown): Generator<string, void> {
  if (value instanceof JsonText) yield value.text;
  else if (typeof value !== 'object' || value === null || sizeOfAnswer(value, PIECE).characters <= PIECE) {
    yield JSON.stringify(value);
  } else if (Array.isArray(value)) {
    yield '[';
    for (const [index, element] of value.entries()) {
      if (index > 0) yield ',';
      yield* piecesOf(element ?? null);
    }
    yield ']';
  } else {
    let separator = '{';
    for (const [name, member] of Object.entries(value)) {
      if (member === undefined || typeof member === 'function') continue;
      yield `${separator}${JSON.stringify(name)}:`;
      yield* piecesOf(member);
      separator = ',';
    }
    yield separator === '{' ? '{}' : '}';
  }
}

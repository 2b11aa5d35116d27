import { describe, expect, test } from 'vitest';
import { parseTraceParent, traceFields } from '../../src/lib/tracing.ts';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const SPAN = 'b7ad6b7169203331';

describe('a traceparent', () => {
  test('keeps its ids and the sampling decision', () => {
    expect(parseTraceParent(`00-${TRACE}-${SPAN}-01`)).toBe(`00-${TRACE}-${SPAN}-01`);
    expect(parseTraceParent(`00-${TRACE}-${SPAN}-00`)).toBe(`00-${TRACE}-${SPAN}-00`);
  });

  test('loses flags that version 00 does not define', () => {
    expect(parseTraceParent(`00-${TRACE}-${SPAN}-ff`)).toBe(`00-${TRACE}-${SPAN}-01`);
  });

  test('of a later version is read as one of version 00', () => {
    expect(parseTraceParent(`42-${TRACE}-${SPAN}-01`)).toBe(`00-${TRACE}-${SPAN}-01`);
    expect(parseTraceParent(`42-${TRACE}-${SPAN}-01-${'x'.repeat(10_000)}`)).toBe(`00-${TRACE}-${SPAN}-01`);
  });

  test.each([
    ['', 'empty'],
    [`00-${TRACE}-${SPAN}`, 'without flags'],
    [`ff-${TRACE}-${SPAN}-01`, 'of version ff'],
    [`00-${'0'.repeat(32)}-${SPAN}-01`, 'with a trace id of zeros'],
    [`00-${TRACE}-${'0'.repeat(16)}-01`, 'with a span id of zeros'],
    [`00-${TRACE.toUpperCase()}-${SPAN}-01`, 'in capitals'],
    [`00-${TRACE}-${SPAN}-01-more`, 'of version 00 with more fields'],
    [`42-${TRACE}-${SPAN}-01more`, 'of a later version with a longer field'],
    [` 00-${TRACE}-${SPAN}-01`, 'after a space'],
  ])('%j is rejected: %s', (text) => {
    expect(parseTraceParent(text)).toBeUndefined();
  });
});

test('the fields of a log line name the trace and the span', () => {
  expect(traceFields(`00-${TRACE}-${SPAN}-01`)).toEqual({ trace_id: TRACE, span_id: SPAN, trace_flags: '01' });
  expect(traceFields(undefined)).toEqual({});
});

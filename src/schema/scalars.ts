import { GraphQLError } from 'graphql';
import { builder } from './builder.ts';

const DATE_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)$/;

builder.scalarType('DateTime', {
  description: 'A moment in ISO 8601, always in UTC when we say it: `2026-01-31T12:00:00.000Z`.',
  serialize: (moment) => moment.toISOString(),
  parseValue: (value) => {
    const moment = typeof value === 'string' && DATE_TIME.test(value) ? new Date(value) : undefined;
    const year = moment?.getUTCFullYear() ?? Number.NaN;
    if (moment === undefined || !(year >= 1 && year <= 9_999)) {
      throw new GraphQLError('DateTime must be ISO 8601 with a time zone, such as 2026-01-31T12:00:00Z');
    }
    return moment;
  },
});

builder.scalarType('JSON', {
  description: 'Any JSON value. Numbers beyond the precision of a double lose it here; deliveries keep every byte.',
  serialize: (value) => value,
  parseValue: (value) => value,
});

import { GraphQLError } from 'graphql';
import { parseMoment } from '../lib/moment.ts';
import { builder } from './builder.ts';

builder.scalarType('DateTime', {
  description: 'A moment in ISO 8601, always in UTC when we say it: `2026-01-31T12:00:00.000Z`.',
  serialize: (moment) => moment.toISOString(),
  parseValue: (value) => {
    const moment = typeof value === 'string' ? parseMoment(value) : undefined;
    if (moment === undefined) {
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

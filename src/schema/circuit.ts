import { builder } from './builder.ts';

export const CircuitStateEnum = builder.enumType('CircuitState', {
  description: 'The state of a circuit.',
  values: {
    CLOSED: { description: 'Deliveries are sent.' },
    OPEN: { description: 'The endpoint is failing: only probes are sent until one succeeds.' },
  } as const,
});

export const CircuitType = builder.prismaObject('SubscriptionState', {
  name: 'Circuit',
  description:
    'The circuit breaker of an endpoint. It opens when 20 attempts in a row fail, or 70 % of at least 10 in five minutes.',
  fields: (t) => ({
    state: t.field({
      type: CircuitStateEnum,
      select: { openedAt: true },
      resolve: ({ openedAt }) => (openedAt === null ? 'CLOSED' : 'OPEN'),
    }),
    openedAt: t.expose('openedAt', {
      type: 'DateTime',
      nullable: true,
      description: 'The time at which the circuit opened; null while it is closed.',
    }),
    nextProbeAt: t.expose('probeAt', {
      type: 'DateTime',
      nullable: true,
      description:
        'The time of the next probe. If it is in the past, the probe is usually sent within two seconds after a delivery is due. Null while the circuit is closed.',
    }),
  }),
});

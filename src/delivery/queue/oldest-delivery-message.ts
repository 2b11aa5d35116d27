import type { EventBus } from '../../nats/event-bus.ts';

/** When the oldest message that is still in DELIVERIES was published; undefined if there is none. */
export async function oldestDeliveryMessage(bus: Pick<EventBus, 'inspect' | 'names'>): Promise<Date | undefined> {
  const { state } = await bus.inspect((jsm) => jsm.streams.info(bus.names.deliveries.stream));
  return state.messages === 0 ? undefined : new Date(state.first_ts);
}

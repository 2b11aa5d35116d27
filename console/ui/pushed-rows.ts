import { createStore, type Store } from '../graphql/store.ts';

/** Milliseconds for which pushed rows are collected before they are shown. */
const COLLECT_MS = 200;
/** Rows that are shown without waiting: timers of hidden tabs are slow. */
const MAX_COLLECTED = 1_000;

/** The newest state of each row that a stream pushed, by its key. */
export type PushedRows<Row> = Pick<Store<ReadonlyMap<string, Row>>, 'get' | 'subscribe'> & {
  readonly add: (key: string, row: Row) => void;
  readonly clear: () => void;
};

export function createPushedRows<Row>(): PushedRows<Row> {
  const shown = createStore<ReadonlyMap<string, Row>>(new Map());
  let collected = new Map<string, Row>();
  let timer: number | undefined;
  const show = () => {
    window.clearTimeout(timer);
    timer = undefined;
    shown.set(new Map([...shown.get(), ...collected]));
    collected = new Map();
  };
  return {
    ...shown,
    add: (key, row) => {
      collected.set(key, row);
      if (collected.size >= MAX_COLLECTED) show();
      else timer ??= window.setTimeout(show, COLLECT_MS);
    },
    clear: () => {
      collected = new Map();
      if (shown.get().size > 0) shown.set(new Map());
    },
  };
}

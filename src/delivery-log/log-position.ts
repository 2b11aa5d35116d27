import { uuid7Floor, uuid7Source, uuid7Time } from '../lib/uuid7.ts';
import { isUuid } from '../subscriptions/service.ts';
import { SETTLED_AFTER_MS } from './live-log.ts';

/** More processes than that do not log within the same 15 s. */
const MAX_SOURCES = 32;

/**
 * What a reader of the log has seen. Ids are in the order of the log only within one process: what another one commits
 * a moment later can have a smaller id. So this is an id up to which everything has been seen, and beyond it the last id
 * from each process.
 */
export class LogPosition {
  #base: string;
  #head: string;
  /** Also those that are not beyond the base any more: `since` is the base that they were seen beyond. */
  readonly #lastIds = new Map<string, { readonly since: string; readonly id: string }>();

  constructor(base: string) {
    this.#base = base;
    this.#head = base;
  }

  /** Reads what `toString` wrote, or the id of an attempt: then everything up to it has been seen. */
  static parse(text: string): LogPosition | undefined {
    const ids = text.toLowerCase().split('~');
    const [head = '', base = head, ...others] = ids;
    if (!ids.every(isUuid) || others.length > MAX_SOURCES) return undefined;
    const position = new LogPosition(base);
    for (const id of [...others, head]) position.#see(id);
    return position;
  }

  /** The last id that has been seen. */
  get head(): string {
    return this.#head;
  }

  /** Everything up to this id has been seen. */
  get base(): string {
    return this.#base;
  }

  has(id: string): boolean {
    return id <= this.#base || id <= (this.#lastIds.get(uuid7Source(id))?.id ?? '');
  }

  /** Whether it is known to be one of those that were seen, not only taken for it because it is not beyond the base. */
  hasSeen(id: string): boolean {
    const last = this.#lastIds.get(uuid7Source(id));
    return last !== undefined && id > last.since && id <= last.id;
  }

  /**
   * An attempt has been seen, as all those before it from the same process; and all those that are 15 s older, if they are
   * not beyond `settledId` (see LiveLog).
   */
  add(id: string, settledId: string): void {
    this.#see(id);
    const olderId = uuid7Floor(uuid7Time(this.#head) - SETTLED_AFTER_MS);
    this.settle(olderId < settledId ? olderId : settledId);
    if (this.#lastIds.size <= MAX_SOURCES) return;
    const [oldest] = [...this.#lastIds].sort(([, one], [, other]) => (one.id < other.id ? -1 : 1));
    if (oldest === undefined) return;
    this.#lastIds.delete(oldest[0]);
    this.settle(oldest[1].id);
  }

  #see(id: string): void {
    // What was committed late can be less than what was seen after it.
    if (!this.has(id)) {
      const last = this.#lastIds.get(uuid7Source(id));
      // What the process committed late in between may not have been seen.
      const since = last !== undefined && last.id >= this.#base ? last.since : this.#base;
      this.#lastIds.set(uuid7Source(id), { since, id });
    }
    if (id > this.#head) this.#head = id;
  }

  /** Everything up to this id has been seen. */
  settle(id: string): void {
    if (id > this.#base) this.#base = id;
  }

  /** The last id, the base, and the other ids, in the order of the log. */
  toString(): string {
    const lastIds = [...this.#lastIds.values()].map(({ id }) => id);
    const others = lastIds.filter((id) => id > this.#base && id !== this.#head);
    return [this.#head, this.#base, ...others].join('~');
  }
}

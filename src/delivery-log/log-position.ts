import { isUuid, uuid7Floor, uuid7Source, uuid7Time } from '../lib/uuid7.ts';
import { SETTLED_AFTER_MS } from './live-log.ts';

/** Maximum processes assumed to log within the same 15 s. */
const MAX_SOURCES = 32;

/**
 * The position of a reader in the log. Ids are in commit order only within one process: another process may commit a
 * smaller id shortly afterwards. So a position consists of a base, the id up to which all attempts have been seen, and
 * the last seen id of each process after the base.
 */
export class LogPosition {
  #base: string;
  #head: string;
  /** The last seen id of each source, including ids below the present base. `since`: the base when the id was seen. */
  readonly #lastIds = new Map<string, { readonly since: string; readonly id: string }>();

  constructor(base: string) {
    this.#base = base;
    this.#head = base;
  }

  /** Parses the text of `toString`, or the id of an attempt, which means that all attempts up to it have been seen. */
  static parse(text: string): LogPosition | undefined {
    const ids = text.toLowerCase().split('~');
    const [head = '', base = head, ...others] = ids;
    if (!ids.every(isUuid) || others.length > MAX_SOURCES) return undefined;
    const position = new LogPosition(base);
    for (const id of [...others, head]) position.#see(id);
    return position;
  }

  /** The largest id that has been seen. */
  get head(): string {
    return this.#head;
  }

  /** All attempts up to this id count as seen. */
  get base(): string {
    return this.#base;
  }

  has(id: string): boolean {
    return id <= this.#base || id <= (this.#lastIds.get(uuid7Source(id))?.id ?? '');
  }

  /** Whether this reader saw the attempt itself, not only assumes so because the id lies below the base. */
  hasSeen(id: string): boolean {
    const last = this.#lastIds.get(uuid7Source(id));
    return last !== undefined && id > last.since && id <= last.id;
  }

  /**
   * Marks an attempt as seen, together with all earlier attempts of its process, and all attempts that are 15 s older,
   * except those after `settledId` (see LiveLog).
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
    // A late commit can have a smaller id than attempts seen before it.
    if (!this.has(id)) {
      const last = this.#lastIds.get(uuid7Source(id));
      // The reader may have missed late commits of the process in between.
      const since = last !== undefined && last.id >= this.#base ? last.since : this.#base;
      this.#lastIds.set(uuid7Source(id), { since, id });
    }
    if (id > this.#head) this.#head = id;
  }

  /** Marks all attempts up to this id as seen. */
  settle(id: string): void {
    if (id > this.#base) this.#base = id;
  }

  /** Formats the largest seen id, the base, and the other ids, in the order of the log. */
  toString(): string {
    const lastIds = [...this.#lastIds.values()].map(({ id }) => id);
    const others = lastIds.filter((id) => id > this.#base && id !== this.#head);
    return [this.#head, this.#base, ...others].join('~');
  }
}

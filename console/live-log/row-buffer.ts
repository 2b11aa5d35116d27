/** A row with a unique id. */
type Identified = { readonly id: string };

/**
 * Rows in the order of the log, each id once, at most `capacity`; the oldest rows are removed first. Appending takes
 * constant time on average: the array is cut only when it exceeds the capacity by a tenth.
 */
export class RowBuffer<Row extends Identified> {
  readonly #capacity: number;
  #rows: Row[] = [];
  #ids = new Set<string>();
  /** Number of all appended rows, including removed ones. */
  appended = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get length(): number {
    return Math.min(this.#rows.length, this.#capacity);
  }

  /** Whether older rows were removed, or would be. */
  get isFull(): boolean {
    return this.#rows.length >= this.#capacity;
  }

  /** The row at a distance from the newest one. */
  at(index: number): Row | undefined {
    return index < this.#capacity ? this.#rows[this.#rows.length - 1 - index] : undefined;
  }

  append(row: Row): void {
    if (this.#ids.has(row.id)) return;
    this.#ids.add(row.id);
    this.#rows.push(row);
    this.appended += 1;
    if (this.#rows.length > this.#capacity * 1.1) this.#cut();
  }

  /** Inserts rows that are older than all others, newest first, up to the capacity. */
  prepend(older: readonly Row[]): void {
    const added = older
      .filter(({ id }) => !this.#ids.has(id))
      .slice(0, Math.max(0, this.#capacity - this.#rows.length));
    for (const { id } of added) this.#ids.add(id);
    this.#rows = [...added.toReversed(), ...this.#rows];
  }

  /** A copy, newest first. */
  slice(): Row[] {
    return this.#rows.slice(-this.#capacity).reverse();
  }

  #cut(): void {
    const gone = this.#rows.splice(0, this.#rows.length - this.#capacity);
    for (const { id } of gone) this.#ids.delete(id);
  }
}

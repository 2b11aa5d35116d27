/**
 * The value that belongs to an id: `values` has it at the place that the id has in the list `$1::uuid[]`. A statement of
 * prepared deliveries finds rows by `= ANY ($1)` and their values by this, not by a join with unnest(): for a plan made
 * once, Postgres may turn such a join around and read all rows between the least id and the greatest (ADR 23).
 */
export function valueOf(id: string, values: string): string {
  return `(${values})[array_position($1::uuid[], ${id})]`;
}

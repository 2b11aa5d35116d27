/** The smallest and the largest of these UUIDs: with them, Postgres leaves out the partitions that have none of them. */
export function idRange(ids: readonly string[]): [string, string] {
  let [least = '', greatest = ''] = [ids[0], ids[0]];
  for (const id of ids) {
    if (id < least) least = id;
    if (id > greatest) greatest = id;
  }
  return [least, greatest];
}

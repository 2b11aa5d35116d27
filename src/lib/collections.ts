/** Groups the items by key. Each group keeps the order of the items. */
export function groupBy<Item>(items: readonly Item[], keyOf: (item: Item) => string): Map<string, Item[]> {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group === undefined) groups.set(keyOf(item), [item]);
    else group.push(item);
  }
  return groups;
}

/** Options of an LRUCache of at most `count` entries. For the option `max` it would allocate memory for all of them at once. */
export function atMost(count: number) {
  return { maxSize: count, sizeCalculation: () => 1 };
}

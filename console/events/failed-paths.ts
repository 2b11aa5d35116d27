/** `filter.user.age.$gt` as `user.age $gt`: the path in the data, and the condition. */
export function dataPaths(failedPaths: readonly string[]): readonly string[] {
  return failedPaths.map((path) => path.replace(/^filter\.?/, '').replace(/\.(\$\w+)$/, ' $1') || 'the whole filter');
}

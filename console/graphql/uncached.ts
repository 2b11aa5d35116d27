import { type Exchange, type ExchangeIO, type Operation, type OperationResult, stringifyDocument } from 'urql';
import { filter, makeSubject, merge, onPush, share } from 'wonka';

/** Fields with up to 1 MiB, or with 200 results for each filter that is typed. */
const LARGE_FIELDS = /\b(?:dataText|requestBody|testFilterOnEvents)\b/;

function isLarge({ kind, query }: Operation): boolean {
  return kind !== 'mutation' && LARGE_FIELDS.test(stringifyDocument(query));
}

/** Queries of large fields bypass the cache, which keeps each answer until the tab is closed. */
export function withoutLarge(cache: Exchange): Exchange {
  return (input) => (operations) => {
    const all = share(operations);
    const largeResults = makeSubject<OperationResult>();
    const forward: ExchangeIO = (cached) => {
      const results = input.forward(merge([cached, filter(isLarge)(all)]));
      return filter(({ operation }: OperationResult) => !isLarge(operation))(
        onPush((result: OperationResult) => isLarge(result.operation) && largeResults.next(result))(results),
      );
    };
    return merge([
      cache({ ...input, forward })(filter((operation: Operation) => !isLarge(operation))(all)),
      largeResults.source,
    ]);
  };
}

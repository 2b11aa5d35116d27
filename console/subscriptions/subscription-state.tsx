import type { SubscriptionStateFragment } from '../generated/graphql.ts';
import { Mark } from '../ui/outcome.tsx';
import { useNow } from '../ui/time.tsx';
import { inWords } from './state-in-words.ts';

export function SubscriptionState({ subscription }: { readonly subscription: SubscriptionStateFragment }) {
  const { tone, word, detail } = inWords(subscription, useNow());
  return (
    <Mark tone={tone} detail={detail}>
      {word}
    </Mark>
  );
}

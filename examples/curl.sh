#!/usr/bin/env bash
# Subscribes a URL, watches the delivery log, sends a test event, prints its first attempt, and ends.
set -euo pipefail
target=${1:?usage: examples/curl.sh <URL of the receiver>}
url=${URL:-http://127.0.0.1:4000}/graphql
key=${KEY:-$(cat .data/admin-api-key)}

graphql() { # query, variables as JSON
  local body
  body=$(node -e 'console.log(JSON.stringify({ query: process.argv[1], variables: JSON.parse(process.argv[2]) }))' "$1" "$2")
  curl -sS -N "$url" -H "authorization: Bearer $key" -H 'content-type: application/json' "${@:3}" -d "$body"
}

echo 'Subscribing:'
created=$(graphql 'mutation ($url: String!) {
  createWebhookSubscription(input: { tenant: "examples", url: $url, eventTypes: ["*"] }) {
    ... on CreateWebhookSubscriptionPayload { secret subscription { id } }
    ... on Error { code message }
  }
}' "{\"url\": \"$target\"}")
echo "$created"
id=$(grep -o '"id":"[^"]*' <<<"$created" | cut -d'"' -f4)

echo 'Watching, and sending a test event:'
exec 3< <(graphql 'subscription ($id: ID!) {
  deliveryLog(filter: { subscriptionIds: [$id] }) { eventType number status statusCode failureReason }
}' "{\"id\": \"$id\"}" -H 'accept: text/event-stream')
watcher=$!
trap 'kill "$watcher" 2>/dev/null || true' EXIT
# The stream begins with a comment line. After this line, the stream misses no attempt.
read -r <&3
graphql 'mutation ($id: ID!) { sendTestEvent(subscriptionId: $id) { __typename } }' "{\"id\": \"$id\"}"
echo
grep -m 1 '^data: {' <&3

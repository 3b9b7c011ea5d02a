"""boto3, which signs for the host that it asks: no base URL can lead it elsewhere."""

import boto3

client = boto3.client("bedrock-runtime", region_name="us-east-1")
question = {
    "modelId": "anthropic.claude-sonnet-4-6-v1:0",
    "messages": [{"role": "user", "content": [{"text": "Say hello to Oslo"}]}],
}
answer = client.converse(**question)
print("FINAL", answer["output"]["message"]["content"][0]["text"])

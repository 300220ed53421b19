import { httpRouter } from "convex/server";
import { internal } from "./_generated/api";
import { httpAction } from "./_generated/server";

const http = httpRouter();

http.route({
  path: "/health",
  method: "GET",
  handler: httpAction(async () => new Response("ok")),
});

http.route({
  path: "/clerk-webhook",
  method: "POST",
  handler: httpAction(async (ctx, request) => {
    const body = await request.text();
    if (!(await isSigned(body, request.headers))) return new Response("Bad signature", { status: 400 });
    const { type, data } = JSON.parse(body);
    if (type === "user.created" || type === "user.updated") {
      await ctx.runMutation(internal.users.upsert, {
        clerkId: data.id,
        email: data.email_addresses[0].email_address,
        name: `${data.first_name} ${data.last_name}`,
      });
    }
    return new Response(null, { status: 200 });
  }),
});

async function isSigned(body: string, headers: Headers): Promise<boolean> {
  const secret = process.env.CLERK_WEBHOOK_SECRET;
  if (secret === undefined) throw new Error("CLERK_WEBHOOK_SECRET is not set");
  const signed = `${headers.get("svix-id")}.${headers.get("svix-timestamp")}.${body}`;
  const bytes = Uint8Array.from(atob(secret.replace("whsec_", "")), (char) => char.charCodeAt(0));
  const key = await crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const digest = new Uint8Array(await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(signed)));
  const wanted = `v1,${btoa(String.fromCharCode(...digest))}`;
  return (headers.get("svix-signature") ?? "").split(" ").includes(wanted);
}

export default http;

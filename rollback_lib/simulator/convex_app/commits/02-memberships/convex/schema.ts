import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

export const role = v.union(v.literal("member"), v.literal("trainer"), v.literal("admin"));

export const category = v.union(
  v.literal("supplements"),
  v.literal("apparel"),
  v.literal("equipment"),
  v.literal("vouchers"),
);

export const plan = v.union(
  v.literal("18-month"),
  v.literal("12-month"),
  v.literal("no-lock-in"),
  v.literal("12-month-upfront"),
);

export default defineSchema({
  users: defineTable({
    clerkId: v.string(),
    email: v.string(),
    name: v.string(),
    role,
    phone: v.optional(v.string()),
    stripeCustomerId: v.optional(v.string()),
    preferences: v.optional(
      v.object({ newsletter: v.boolean(), units: v.union(v.literal("metric"), v.literal("imperial")) }),
    ),
  })
    .index("by_clerk_id", ["clerkId"])
    .index("by_email", ["email"]),

  memberships: defineTable({
    userId: v.id("users"),
    plan,
    status: v.union(v.literal("active"), v.literal("paused"), v.literal("expired"), v.literal("cancelled")),
    startsAt: v.number(),
    endsAt: v.union(v.number(), v.null()),
    price: v.object({ cents: v.number(), every: v.union(v.literal("fortnight"), v.literal("once")) }),
    pauses: v.array(v.object({ from: v.number(), to: v.number(), reason: v.optional(v.string()) })),
  })
    .index("by_user", ["userId"])
    .index("by_status_and_end", ["status", "endsAt"]),

  products: defineTable({
    sku: v.string(),
    name: v.string(),
    category,
    priceCents: v.number(),
    stock: v.number(),
    tags: v.array(v.string()),
    active: v.boolean(),
  })
    .index("by_sku", ["sku"])
    .index("by_category", ["category", "active"]),

  orders: defineTable({
    userId: v.id("users"),
    items: v.array(
      v.object({ productId: v.id("products"), quantity: v.number(), unitPriceCents: v.number() }),
    ),
    totalCents: v.number(),
    status: v.union(v.literal("placed"), v.literal("paid"), v.literal("shipped"), v.literal("refunded")),
    shipTo: v.union(
      v.null(),
      v.object({ street: v.string(), suburb: v.string(), postcode: v.string() }),
    ),
    paidAt: v.optional(v.number()),
  })
    .index("by_user", ["userId"])
    .index("by_status", ["status"]),
});

//! The order story: order-service and warehouse-service.
